//! Measured costs: which cell of which matrix a pair of PIDs has. A measurement goes before what is computed from links.
use crate::{
    PidIx,
    costs::prefers_high,
    partition::{Partition, pid_name},
};
use alto::cost::Metric;
use std::{collections::HashMap, sync::Arc};
use topology::graph::{Graph, Matrix};

/// The matrices of one metric, best first, with the rows and columns of each PID.
#[derive(Debug)]
pub(crate) struct Measured {
    layers: Vec<Layer>,
    highest: bool,
}

#[derive(Debug)]
struct Layer {
    matrix: Arc<Matrix>,
    /// Per PID: rows that are it, or one of its routers.
    rows: Vec<Vec<u32>>,
    columns: Vec<Vec<u32>>,
}

impl Measured {
    /// `None` when nobody measured this metric between PIDs of this partition.
    pub(crate) fn new(graph: &Graph, partition: &Partition, metric: &Metric) -> Option<Self> {
        let matrices: Vec<&Arc<Matrix>> = graph.matrices.iter().filter(|matrix| matrix.metric == *metric).collect();
        if matrices.is_empty() {
            return None;
        }
        let mut pids_of: HashMap<String, Vec<u32>> = HashMap::new();
        for (pid, routers) in partition.routers.iter().enumerate() {
            for router in routers {
                pids_of.entry(pid_name(&graph.routers[router.0 as usize].id).into_owned()).or_default().push(pid as u32);
            }
        }
        // A name that is a PID's is that PID alone, whatever routers are called.
        for (pid, name) in partition.pids.iter().enumerate() {
            pids_of.insert(name.to_string(), vec![pid as u32]);
        }
        let places = |names: &[Box<str>]| {
            let mut places = vec![Vec::new(); partition.pids.len()];
            for (place, name) in names.iter().enumerate() {
                for &pid in pids_of.get(&*pid_name(name)).into_iter().flatten() {
                    places[pid as usize].push(place as u32);
                }
            }
            places
        };
        let layer =
            |matrix: &Arc<Matrix>| Layer { matrix: matrix.clone(), rows: places(&matrix.sources), columns: places(&matrix.destinations) };
        Some(Self { layers: matrices.into_iter().map(layer).collect(), highest: prefers_high(metric) })
    }

    /// The measured cost; NaN when there is none.
    pub(crate) fn cost(&self, from: PidIx, to: PidIx) -> f64 {
        self.find(from, to).map_or(f64::NAN, |(cost, _)| cost)
    }

    /// The same with the matrix it is from.
    pub(crate) fn find(&self, from: PidIx, to: PidIx) -> Option<(f64, &Matrix)> {
        self.layers.iter().find_map(|layer| {
            let width = layer.matrix.destinations.len();
            let rows = layer.rows[from.0 as usize].iter();
            let cells =
                rows.flat_map(|&row| layer.columns[to.0 as usize].iter().map(move |&column| row as usize * width + column as usize));
            let costs = cells.map(|cell| layer.matrix.values[cell]).filter(|cost| cost.is_finite() && *cost >= 0.0);
            let best = if self.highest { costs.max_by(f64::total_cmp) } else { costs.min_by(f64::total_cmp) };
            best.map(|cost| (cost, &*layer.matrix))
        })
    }
}
