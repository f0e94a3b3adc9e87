//! What the compiler says about a stack that does not fit: a promise of the documentation, worded by the compiler.

#[test]
#[ignore = "compilers word it differently: `ci/trybuild` runs it on the pinned one"]
fn a_stack_that_does_not_fit_is_told_what_to_mend() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/check_*.rs");
    if cfg!(feature = "http") {
        cases.compile_fail("tests/ui/http_*.rs");
    }
}
