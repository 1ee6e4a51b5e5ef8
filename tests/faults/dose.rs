//! How much is tried, and with which chance.

/// How much is tried, and with which chance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dose {
    /// From where chance is drawn; the same seed draws the same.
    pub(crate) seed: u64,
    /// How many times the usual number of things is tried.
    pub(crate) factor: usize,
}

impl Dose {
    /// The dose that the environment asks for; by default seed 1 and what takes a test a minute at most.
    #[expect(clippy::disallowed_methods, reason = "the tests have no config.rs")]
    pub(crate) fn read() -> Self {
        let number = |name| std::env::var(name).ok().and_then(|value: String| value.parse().ok());
        let seed = number("QCTL_FAULTS_SEED").unwrap_or(1);
        let factor = number("QCTL_FAULTS_DOSE").and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
        Self { seed, factor }
    }

    /// Chance, the same for the same seed.
    pub(crate) fn chance(self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed)
    }
}

#[test]
fn the_same_seed_draws_the_same() {
    let dose = Dose::read();
    let draw = || dose.chance().u64(..);
    assert!(draw() == draw() && dose.factor >= 1);
}
