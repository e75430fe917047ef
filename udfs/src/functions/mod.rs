//! The scalar functions.
//!
//! A query's plan replaces calls of those that score by columns of one scoring node ([`crate::plan`]); where
//! that node cannot stand they score what they are given themselves, with the same workers and the same answer.

mod arguments;
mod call;
mod documentation;
mod evaluate;
mod hash_distance;
mod image_info;
mod score;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

pub(crate) use self::call::Call;
use self::hash_distance::HashDistance;
use self::image_info::ImageInfo;
pub(crate) use self::score::ScoreFunction;
use crate::function::Function;
use crate::models::Registry;

/// All of them.
pub(crate) fn all(models: &Arc<Registry>) -> impl Iterator<Item = ScalarUDF> {
    let scoring =
        Function::ALL.map(|function| ScalarUDF::new_from_impl(ScoreFunction::new(function, Arc::clone(models))));
    let image_info = ScalarUDF::new_from_impl(ImageInfo::new(models.load_options(), Arc::clone(models.seen())));
    scoring.into_iter().chain([image_info, ScalarUDF::new_from_impl(HashDistance::new())])
}
