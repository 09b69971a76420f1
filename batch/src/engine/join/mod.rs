//! Spatial joins as operators of the query plan.
//!
//! A join whose condition holds a spatial predicate is, to the planner, a nested loop. The rule in [`rule`] finds the
//! predicate ([`condition`]) and puts a [`SpatialJoin`](exec::SpatialJoin) in its place: the left side is collected and
//! indexed once ([`build`]), the right side streams past it ([`probe`]). A left side that does not fit into memory goes to
//! disk ([`out_of_core`]). A join with an equality beside the spatial predicate is made one of these, too ([`equality`]).
//!
//! ST_KNN is different: what it answers for a pair depends on all other rows, so nothing may be filtered beneath it.
//! [`knn`] therefore takes it out of the plan before the optimizer sees it.

mod build;
mod condition;
mod equality;
mod exec;
pub mod knn;
mod out_of_core;
mod pairs;
mod probe;
mod rule;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::common::config::ConfigExtension;
use datafusion::common::extensions_options;
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

use super::interrupt::InterruptRule;

extensions_options! {
    /// `SET spatial.partitions = n`.
    pub struct Options {
        /// Cells of the KD-tree that a spatial join's build side is put into.
        pub partitions: usize, default = 64
    }
}

impl ConfigExtension for Options {
    const PREFIX: &'static str = "spatial";
}

/// Adds the planner's rules.
pub fn install(state: SessionStateBuilder) -> SessionStateBuilder {
    let mut rules = PhysicalOptimizer::new().rules;
    // After the joins have their sides, before their inputs are distributed for them.
    let chosen = rules
        .iter()
        .rposition(|rule| rule.name() == "join_selection")
        .map_or(0, |at| at + 1);
    rules.insert(chosen, Arc::new(equality::SpatialFirst));
    // After the joins have their sides, distributions and projections; before the plan is checked and made cooperative.
    let place = rules
        .iter()
        .rposition(|rule| rule.name() == "ProjectionPushdown")
        .map_or(rules.len(), |at| at + 1);
    rules.insert(place, Arc::new(rule::SpatialJoinRule));
    rules.push(Arc::new(InterruptRule));
    state
        .with_physical_optimizer_rules(rules)
        .with_analyzer_rule(Arc::new(knn::KnnRule))
        .with_query_planner(Arc::new(knn::Planner))
}
