//! What the compiler says about a saga that breaks a promise of the types.

#[test]
#[ignore = "compilers word it differently: `ci/trybuild` runs it on the pinned one"]
fn a_saga_that_is_wrong_is_told_what_to_mend() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
