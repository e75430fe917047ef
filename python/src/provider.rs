//! Relations as tables, and functions, of any other DataFusion of the same major release: by capsules.

use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::dataframe::DataFrame;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr_rewriter::unnormalize_col;
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, displayable};
use datafusion::prelude::SessionContext;
use datafusion_ffi::proto::logical_extension_codec::FFI_LogicalExtensionCodec;
use datafusion_ffi::table_provider::FFI_TableProvider;
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use tokio::runtime::Handle;

use crate::lock::Unlocked;

/// A plan that is made ready and run in its own session, whoever asks for its rows. So images are scored once in each
/// reading, after the conditions that the host hands down, and only for the columns that it wants.
pub struct Planned {
    session: SessionContext,
    plan: Unlocked<LogicalPlan>,
    schema: SchemaRef,
    runtime: Handle,
}

impl Planned {
    /// `runtime` is ours: planning may ask stores, and a host has another.
    pub fn new(session: SessionContext, plan: LogicalPlan, runtime: Handle) -> Self {
        let schema = Arc::new(plan.schema().as_arrow().clone());
        Self { session, plan: plan.into(), schema, runtime }
    }
}

impl fmt::Debug for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planned").field("schema", &self.schema).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for Planned {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut frame = DataFrame::new(self.session.state(), LogicalPlan::clone(&self.plan));
        for filter in filters {
            frame = frame.filter(unnormalize_col(filter.clone()))?;
        }
        if limit.is_some() {
            frame = frame.limit(0, limit)?;
        }
        if let Some(columns) = projection {
            let schema = frame.schema().clone();
            let columns = columns.iter().map(|column| Expr::Column(schema.qualified_field(*column).into()));
            frame = frame.select(columns.collect::<Vec<_>>())?;
        }
        let planning = self.runtime.spawn(async move { frame.create_physical_plan().await });
        let plan = planning.await.map_err(|error| exec_datafusion_err!("planning ended: {error}"))??;
        Ok(Arc::new(PlannedExec { plan: plan.into(), session: self.session.clone() }))
    }
}

/// A plan with the session that runs it: the host's knows neither our files' stores nor our settings. For the host it
/// is a leaf.
struct PlannedExec {
    plan: Unlocked<Arc<dyn ExecutionPlan>>,
    session: SessionContext,
}

impl fmt::Debug for PlannedExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlannedExec").field("plan", &*self.plan).finish_non_exhaustive()
    }
}

impl DisplayAs for PlannedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = displayable(self.plan.as_ref()).indent(false).to_string();
        let steps: Vec<&str> = text.lines().map(str::trim).collect();
        write!(f, "dismax: {}", steps.join(" <- "))
    }
}

impl ExecutionPlan for PlannedExec {
    fn name(&self) -> &'static str {
        "PlannedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.plan.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.plan.execute(partition, self.session.task_ctx())
    }
}

/// A table for the session of another library. `session` is that library's, which gives the way to read its
/// expressions.
///
/// # Errors
/// `ImportError` for another major release of DataFusion.
pub fn capsule<'py>(
    py: Python<'py>,
    table: Arc<dyn TableProvider>,
    runtime: &Handle,
    session: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyCapsule>> {
    let codec = codec(session)?;
    let table = FFI_TableProvider::new_with_ffi_codec(table, true, Some(runtime.clone()), codec);
    PyCapsule::new_with_value(py, table, c"datafusion_table_provider")
}

/// How to read the expressions of a session of that library, which must be of our release.
///
/// # Errors
/// `ImportError` for another major release of DataFusion.
pub fn codec(session: &Bound<'_, PyAny>) -> PyResult<FFI_LogicalExtensionCodec> {
    let name = "__datafusion_logical_extension_codec__";
    if !session.hasattr(name)? {
        let ours = datafusion_ffi::version();
        return Err(PyImportError::new_err(format!(
            "dismax works with datafusion {ours}, and this is another release"
        )));
    }
    let getter = session.getattr(name)?;
    let capsule = getter.call1((session,)).or_else(|_| getter.call0())?;
    let capsule = capsule.cast::<PyCapsule>()?;
    let pointer: NonNull<FFI_LogicalExtensionCodec> =
        capsule.pointer_checked(Some(c"datafusion_logical_extension_codec"))?.cast();
    // SAFETY: the capsule has the name that DataFusion's bindings give to a pointer to this struct, and lives longer
    // than the borrow. Which release laid it out is asked before anything else is.
    let codec = unsafe { pointer.as_ref() };
    // SAFETY: the function belongs to the library that made the struct and takes nothing.
    let theirs = unsafe { (codec.version)() };
    let ours = datafusion_ffi::version();
    if theirs != ours {
        return Err(PyImportError::new_err(format!(
            "dismax works with datafusion {ours}, and {theirs} is installed: pip install \"datafusion=={ours}.*\""
        )));
    }
    Ok(codec.clone())
}
