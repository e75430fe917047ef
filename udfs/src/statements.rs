//! Statements of SQL, with those on models that DataFusion does not know:
//!
//! | statement | what it does |
//! | --- | --- |
//! | `CREATE [OR REPLACE] MODEL name FROM 'folder'` | reads a model; functions can name it from then on |
//! | `DROP MODEL [IF EXISTS] name` | lets go of it |

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result, plan_datafusion_err, plan_err};
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParser, DFParserBuilder, Statement};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;
use dismax::model::Model;

use crate::models::external;
use crate::register::{registry_of, replace};

/// A statement of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionStatement {
    /// One that DataFusion plans.
    Sql(Box<Statement>),
    /// One that changes which models there are.
    Model(ModelStatement),
}

/// A statement on models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelStatement {
    /// `CREATE [OR REPLACE] MODEL name FROM 'folder'`.
    Create {
        /// What queries call it.
        name: String,
        /// Its folder.
        folder: String,
        /// Whether it takes the place of a model that has the name.
        or_replace: bool,
    },
    /// `DROP MODEL [IF EXISTS] name`.
    Drop {
        /// What queries call it.
        name: String,
        /// Whether there may be no such model.
        if_exists: bool,
    },
}

/// The statements of a script, which semicolons separate.
///
/// # Errors
/// Text that is no SQL.
pub fn parse_statements(script: &str) -> Result<VecDeque<SessionStatement>> {
    let mut parser = DFParserBuilder::new(script).build()?;
    let mut statements = VecDeque::new();
    loop {
        while parser.parser.consume_token(&Token::SemiColon) {}
        if parser.parser.peek_token() == Token::EOF {
            return Ok(statements);
        }
        statements.push_back(match ModelStatement::parse(&mut parser.parser).map_err(refused)? {
            Some(statement) => SessionStatement::Model(statement),
            None => SessionStatement::Sql(Box::new(parser.parse_statement()?)),
        });
        let next = parser.parser.peek_token();
        if next != Token::SemiColon && next != Token::EOF {
            return parser.parser.expected("end of statement", next).map_err(refused);
        }
    }
}

/// Plans the only statement of `query`, as [`SessionContext::sql`] does, and knows those on models: these run at once
/// and give no rows.
///
/// # Errors
/// Text that is no SQL or more than one statement, what planning says, what [`ModelStatement::run`] says.
pub async fn sql(session: &SessionContext, query: &str) -> Result<DataFrame> {
    // What is no statement on models is DataFusion's from the first word on.
    match ModelStatement::of(query)? {
        Some(statement) => statement.run(session),
        None => session.sql(query).await,
    }
}

impl ModelStatement {
    /// The statement on models that a query is.
    fn of(query: &str) -> Result<Option<Self>> {
        let Ok(mut parser) = DFParserBuilder::new(query).build() else { return Ok(None) };
        let Some(statement) = Self::parse(&mut parser.parser).map_err(refused)? else { return Ok(None) };
        while parser.parser.consume_token(&Token::SemiColon) {}
        require_end(&mut parser)?;
        Ok(Some(statement))
    }

    /// Takes a statement on models, where one begins here, and nothing otherwise.
    fn parse(parser: &mut Parser) -> Result<Option<Self>, ParserError> {
        let word = |parser: &Parser, place: usize, expected: &str| match parser.peek_nth_token(place).token {
            Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected),
            _ => false,
        };
        let or_replace = word(parser, 1, "or") && word(parser, 2, "replace");
        if word(parser, 0, "create") && word(parser, if or_replace { 3 } else { 1 }, "model") {
            (0..if or_replace { 4 } else { 2 }).for_each(|_| drop(parser.next_token()));
            let name = name(parser)?;
            parser.expect_keyword(Keyword::FROM)?;
            return Ok(Some(Self::Create { name, folder: parser.parse_literal_string()?, or_replace }));
        }
        if word(parser, 0, "drop") && word(parser, 1, "model") {
            (0..2).for_each(|_| drop(parser.next_token()));
            let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
            return Ok(Some(Self::Drop { name: name(parser)?, if_exists }));
        }
        Ok(None)
    }

    /// Changes the models of a session that [`register`](crate::register) was called for. Views keep the models that
    /// they were made with. The rows that it gives are none.
    ///
    /// # Errors
    /// A session without scoring functions; a name that is taken, or that no model has; what [`Model::read`] and
    /// starting its workers say.
    pub fn run(&self, session: &SessionContext) -> Result<DataFrame> {
        let models = registry_of(session.state().scalar_functions()).ok_or_else(|| {
            plan_datafusion_err!("the session has no scoring functions, so that it can have no models")
        })?;
        let changed = match self {
            Self::Create { name, or_replace, .. } if models.has(name) && !or_replace => {
                return plan_err!(
                    "there is a model '{name}' already; CREATE OR REPLACE MODEL puts another one in its place"
                );
            }
            Self::Create { name, folder, .. } => {
                models.with(name, Model::read(folder).map_err(external)?).map_err(external)?
            }
            Self::Drop { name, if_exists } if !models.has(name) && !if_exists => {
                return plan_err!("there is no model '{name}' ({})", models.listing());
            }
            Self::Drop { name, .. } => models.without(name),
        };
        replace(session, &Arc::new(changed))?;
        Ok(DataFrame::new(session.state(), LogicalPlanBuilder::empty(false).build()?))
    }
}

/// A name as SQL reads names: in small letters unless it is quoted.
fn name(parser: &mut Parser) -> Result<String, ParserError> {
    let name = parser.parse_identifier()?;
    Ok(if name.quote_style.is_none() { name.value.to_ascii_lowercase() } else { name.value })
}

fn require_end(parser: &mut DFParser<'_>) -> Result<()> {
    match parser.parser.peek_token() {
        end if end == Token::EOF => Ok(()),
        more => parser.parser.expected("end of statement", more).map_err(refused),
    }
}

fn refused(error: ParserError) -> DataFusionError {
    DataFusionError::SQL(Box::new(error), None)
}
