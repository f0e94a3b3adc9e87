//! This collection.

use mainstay_benches::{Case, rate_limit};

/// The cases of the benches of its own, under the names of this comparison.
pub(super) fn cases() -> Vec<Case> {
    let names = [
        ("token_bucket/check", "token_bucket/mainstay"),
        ("token_bucket/refused", "token_bucket_refused/mainstay"),
        ("keyed_64/token_bucket", "keyed_64/mainstay"),
        ("keyed_64/refused", "keyed_64_refused/mainstay"),
        ("keyed_million/token_bucket", "keyed_million/mainstay"),
        ("layer_static/keyed_million", "keyed_million/mainstay_layer"),
        ("keyed_million/new_key", "keyed_million/mainstay_new_key"),
        ("layer/token_bucket", "layer/mainstay"),
        ("layer/sliding_counter", "layer/mainstay_counter"),
        ("layer/fixed_window", "layer/mainstay_fixed"),
        ("layer/token_bucket_refused", "layer_refused/mainstay"),
        ("layer/fixed_window_refused", "layer_refused/mainstay_fixed"),
        ("rate_limit_http/bare", "http/bare"),
        ("rate_limit_http/layer", "http/mainstay"),
        ("rate_limit_http/layer_no_fields", "http/mainstay_no_fields"),
        ("rate_limit_http/refused", "http_refused/mainstay"),
        ("rate_limit_http/refused_no_fields", "http_refused/mainstay_no_fields"),
    ];
    let renamed = |case: Case| {
        let (_, name) = names.iter().find(|(name, _)| *name == case.name())?;
        Some(case.renamed(*name))
    };
    let all = rate_limit::cases().into_iter().chain(rate_limit::many_cases());
    all.filter_map(renamed).collect()
}
