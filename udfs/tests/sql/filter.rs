//! Filters: what is kept and what is rejected is the input, in its order.

use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int32Type;
use dismax::Result;
use dismax::cancel::Cancel;
use dismax::columns::Columns;
use dismax::dataset::Dataset;
use dismax::filter::{FilterOptions, FilterSummary, Flag, Keep, filter_to};
use dismax::stage::{Stage, StageOptions};
use dismax_udfs::SqlPredicate;

use crate::common::{datasets, models};
use crate::support::MIXED;

fn input() -> Dataset {
    Dataset::open(&[std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(MIXED).display().to_string()])
        .unwrap()
}

struct Run {
    summary: FilterSummary,
    kept: Vec<i32>,
    rejected: Vec<i32>,
}

fn ids(dataset: &Dataset) -> Vec<i32> {
    let chunks = datasets::chunks(dataset, 100, None);
    let column =
        |chunk: &dismax::dataset::Chunk| chunk.record_batch["id"].as_primitive::<Int32Type>().values().to_vec();
    chunks.iter().flat_map(column).collect()
}

fn run(options: FilterOptions) -> Result<Run> {
    run_where(None, options)
}

fn run_where(sql: Option<&str>, options: FilterOptions) -> Result<Run> {
    let folder = datasets::folder();
    let [kept, rejected] = ["kept.parquet", "rejected.parquet"].map(|name| folder.path().join(name));
    let model = models::calibrated();
    let stage =
        Stage::try_new(model, &StageOptions { device: dismax::Device::Cpu, workers: 2, ..StageOptions::default() })?;
    let extended = Columns::try_new(&stage, "")?.schema(input().schema())?;
    let predicate = |sql| SqlPredicate::try_new(sql, input().schema(), &extended).map(|planned| Arc::new(planned) as _);
    let predicate = sql.map(predicate).transpose()?;
    let options = FilterOptions { rejected: Some(rejected.display().to_string()), predicate, ..options };
    let target = kept.display().to_string();
    let mut run = dismax::run::Run { cancel: Cancel::default(), progress: &mut |_| () };
    let summary = filter_to(&stage, &input(), &target, &options, &mut run);
    let Ok(summary) = summary else {
        assert!(datasets::names(folder.path()).is_empty(), "a failed run leaves nothing");
        return Err(summary.unwrap_err());
    };
    let (kept, rejected) = (datasets::open(&kept)?, datasets::open(&rejected)?);
    let schema = match options.columns {
        true => Columns::try_new(&stage, "")?.schema(input().schema())?,
        false => input().schema().clone(),
    };
    assert_eq!(kept.schema().fields(), schema.fields());
    assert_eq!(rejected.schema().fields(), schema.fields());
    Ok(Run { summary, kept: ids(&kept), rejected: ids(&rejected) })
}

fn is_split(run: &Run) {
    let ascending = |ids: &[i32]| ids.windows(2).all(|pair| pair[0] < pair[1]);
    let mut all = [run.kept.clone(), run.rejected.clone()].concat();
    all.sort_unstable();
    let input = ids(&input());
    assert!(ascending(&input), "the test relies on ascending ids");
    assert!(ascending(&run.kept) && ascending(&run.rejected), "order is kept");
    assert_eq!(all, input, "nothing is lost, nothing twice");
    assert_eq!((run.summary.kept, run.summary.rows), (run.kept.len() as u64, input.len() as u64));
}

#[test]
fn the_three_kinds_together_are_the_input() {
    let runs = [Keep::InDist, Keep::Ood, Keep::Errors].map(|keep| run(FilterOptions::new(keep)).unwrap());
    runs.iter().for_each(is_split);
    let kept: u64 = runs.iter().map(|run| run.summary.kept).sum();
    assert_eq!(kept, runs[0].summary.rows);
    assert_eq!(runs[2].summary.kept, runs[2].summary.failed);
    assert!(runs[2].summary.failed > 0 && runs[1].summary.kept == runs[1].summary.flagged);
}

#[test]
fn predicates_on_the_input_come_before_scoring_and_others_after() {
    let early = FilterOptions { flag: Flag::Alpha(Some(0.02)), ..FilterOptions::new(Keep::InDist) };
    let early = run_where(Some("id < 300 AND source <> 'x'"), early).unwrap();
    is_split(&early);
    assert!(early.kept.iter().all(|id| *id < 300));
    assert!(early.summary.scored <= 300, "{:?}", early.summary);
    let late = FilterOptions { columns: true, ..FilterOptions::new(Keep::InDist) };
    let late = run_where(Some("confidence > 0.4 AND id < 300"), late).unwrap();
    is_split(&late);
    assert!(late.summary.scored > 300);
}

#[test]
fn a_false_discovery_rate_is_that_of_the_procedure() {
    // At a rate near 1 some rows are flagged whatever the model.
    let options = FilterOptions { flag: Flag::Fdr(0.99), columns: true, ..FilterOptions::new(Keep::Ood) };
    let ood = run(options.clone()).unwrap();
    is_split(&ood);
    let id = run(FilterOptions { keep: Keep::InDist, ..options }).unwrap();
    assert_eq!(ood.summary.kept + id.summary.kept + id.summary.failed, id.summary.rows);
    let none = run(FilterOptions { flag: Flag::Fdr(1e-6), ..FilterOptions::new(Keep::Ood) }).unwrap();
    assert_eq!((none.summary.kept, none.summary.threshold), (0, None));
}

#[test]
fn bad_requests_say_what_is_wrong() {
    let refused = |options: FilterOptions| run(options).err().unwrap().to_string();
    let predicate = |sql| run_where(Some(sql), FilterOptions::new(Keep::InDist)).err().unwrap().to_string();
    assert!(predicate("colour = 3").contains("colour"));
    assert!(predicate("id +").contains("predicate"));
    assert!(predicate("id + 1").contains("not true or false"));
    assert!(
        refused(FilterOptions { flag: Flag::Fdr(1.5), ..FilterOptions::new(Keep::Ood) })
            .contains("false discovery rate")
    );
    assert!(
        refused(FilterOptions { flag: Flag::Alpha(Some(1e-9)), ..FilterOptions::new(Keep::Ood) }).contains("alpha")
    );
}
