//! Drives `backlog` until the others are there: `cargo bench --bench bench -- fill|turns|looks|check FOLDER`.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

mod backlog;

use std::path::Path;

use backlog::Size;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [what, folder, rest @ ..] = args.as_slice() else { return };
    let (large, small) = (Path::new(folder).join("large.db"), Path::new(folder).join("small.db"));
    match what.as_str() {
        "fill" => {
            let part = rest.first().and_then(|part| part.parse().ok()).unwrap_or(1);
            backlog::fill(&small, &Size::SMALL);
            backlog::fill(&large, &Size::LARGE.divided_by(part));
            if part > 100 {
                backlog::vouch(&small);
                backlog::vouch(&large);
            }
        }
        "turns" => {
            // The ten thousand are used up after a few runs.
            for end in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(Path::new(folder).join(format!("small.db{end}")));
            }
            backlog::fill(&small, &Size::SMALL);
            let turns = backlog::turns(&[&large, &small], 2000);
            for (db, turns) in [&large, &small].iter().zip(&turns) {
                let backlog::Turns { median, p99, durable } = turns;
                println!("{}: median {median:?}, p99 {p99:?}, durable {durable:?}", db.display());
            }
            let ratio = |of: fn(&backlog::Turns) -> std::time::Duration| {
                of(&turns[0]).as_secs_f64() / of(&turns[1]).as_secs_f64()
            };
            println!("ratio {:.2}, durable {:.2}", ratio(|t| t.median), ratio(|t| t.durable));
        }
        _ => {
            let job = rest.first().and_then(|job| job.parse().ok()).unwrap_or(16_000_000);
            let rest: Vec<&str> = rest.iter().skip(1).map(String::as_str).collect();
            let verbs = if rest.is_empty() { &backlog::LOOKS[..] } else { &rest[..] };
            for look in backlog::looks(&large, verbs, job) {
                println!("{:24} first {:9.1?} median {:9.1?}", look.verb, look.first, look.median);
            }
        }
    }
}
