//! What the compiler says about a circuit breaker over an error that cannot carry its refusal.

#[test]
#[ignore = "compilers word it differently: `ci/trybuild` runs it on the pinned one"]
fn a_circuit_breaker_without_a_lift_is_told_what_to_mend() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
