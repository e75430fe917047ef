//! The report as JUnit XML, which build servers show as tests.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::report::{GateReport, RuleResult};
use dismax::error::{Error, Result};

impl GateReport {
    /// The report as JUnit XML: a test for each rule. Without rules, a test for each kind of which there are findings,
    /// which fails where one of them counts.
    ///
    /// # Errors
    /// None that the report can cause.
    pub fn junit(&self) -> Result<String> {
        let mut suite = TestSuite::new(format!("dismax audit of {}", self.inputs_in_words()));
        suite.add_property(("rows", self.rows.to_string().as_str()));
        if let Some(baseline) = &self.baseline {
            suite.add_property(("baseline", baseline.as_str()));
        }
        match self.rules.is_empty() {
            false => suite.add_test_cases(self.rules.iter().map(case_of_rule)),
            true => suite.add_test_cases(self.kinds.iter().map(|kind| {
                let found = format!("{} of {} findings count", kind.counted, kind.findings);
                case(kind.kind.name(), kind.counted > 0, &found, "")
            })),
        };
        let mut report = Report::new("dismax audit");
        report.add_test_suite(suite);
        report.to_string().map_err(|error| Error::Internal(format!("the report as JUnit XML: {error}")))
    }
}

fn case_of_rule(result: &RuleResult) -> TestCase {
    let examples: Vec<String> = result.examples.iter().map(|example| example.line()).collect();
    case(&result.rule.to_string(), result.broken, &result.found(), &examples.join("\n"))
}

fn case(name: &str, fails: bool, found: &str, details: &str) -> TestCase {
    let status = match fails {
        true => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type("findings").set_message(found).set_description(details);
            status
        }
        false => TestCaseStatus::success(),
    };
    let mut case = TestCase::new(name, status);
    case.set_classname("dismax.audit");
    if !fails {
        case.set_system_out(found);
    }
    case
}
