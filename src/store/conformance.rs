//! The contract of [`super::Store`] as tests.
macro_rules! suite {
    ($open:expr) => {};
}
pub(crate) use suite;
