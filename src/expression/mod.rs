//! The language of `successCondition` and `failureCondition`: parsed and checked once, evaluated many times.
