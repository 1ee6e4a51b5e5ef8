//! A storm over jobs of steps.
