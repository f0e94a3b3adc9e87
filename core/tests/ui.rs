//! What the compiler says about a stack that does not fit: a promise of the documentation, worded by the compiler.
#![cfg(mainstay_trybuild)]

#[test]
fn a_stack_that_does_not_fit_is_told_what_to_mend() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/check_*.rs");
    if cfg!(feature = "http") {
        cases.compile_fail("tests/ui/http_*.rs");
    }
}
