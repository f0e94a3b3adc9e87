//! The form in which records are kept.

use mainstay_saga::{Cause, FailedAs, Record};

#[test]
fn a_turn_is_kept_with_what_is_known_of_the_step() {
    for (outcome, word) in [
        (FailedAs::Rejected, "rejected"),
        (FailedAs::RejectedForKey, "rejected_for_key"),
        (FailedAs::NotExecuted, "not_executed"),
        (FailedAs::Unknown, "unknown"),
    ] {
        let record = Record::Turned { cause: Cause::StepFailed { step: "pay".into(), outcome, error: "no".into() } };
        let kept = format!(
            r#"{{"format":1,"record":{{"turned":{{"cause":{{"step_failed":{{"step":"pay","outcome":"{word}","error":"no"}}}}}}}}}}"#
        );
        assert_eq!(String::from_utf8(record.encode()).unwrap(), kept);
        assert_eq!(Record::decode(kept.as_bytes()), Ok(record));
    }
}

#[test]
fn a_turn_without_it_is_not_guessed_at() {
    let kept = br#"{"format":1,"record":{"turned":{"cause":{"step_failed":{"step":"pay","error":"no"}}}}}"#;
    assert!(Record::decode(kept).unwrap_err().to_string().contains("missing field `outcome`"));
}
