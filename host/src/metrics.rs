//! Gauges whose values are taken from the service when Prometheus asks for them.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Registry};

/// Where a value comes from.
type Reading<T> = fn(&T) -> u64;
/// A metric's name, its help text, and where its value comes from.
pub type Gauge<T> = (&'static str, &'static str, Reading<T>);

/// Gauges of one source.
struct Gauges<T> {
    source: Arc<T>,
    gauges: Vec<(IntGauge, Reading<T>)>,
}

impl<T: Send + Sync + 'static> Collector for Gauges<T> {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges.iter().flat_map(|(gauge, _)| gauge.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (gauge, value) in &self.gauges {
            gauge.set(i64::try_from(value(&self.source)).unwrap_or(i64::MAX));
        }
        self.gauges.iter().flat_map(|(gauge, _)| gauge.collect()).collect()
    }
}

/// Registers `gauges`, whose values are read from `source` at each collection.
///
/// # Errors
/// When a name is not a metric's name, or is registered already.
pub fn register<T: Send + Sync + 'static>(
    registry: &Registry,
    source: &Arc<T>,
    gauges: &[Gauge<T>],
) -> Result<(), prometheus::Error> {
    let gauges = gauges
        .iter()
        .map(|(name, help, value)| Ok((IntGauge::new(*name, *help)?, *value)))
        .collect::<Result<Vec<_>, prometheus::Error>>()?;
    registry.register(Box::new(Gauges {
        source: Arc::clone(source),
        gauges,
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn values_are_those_at_the_time_of_collection() {
        let (registry, source) = (Registry::new(), Arc::new(AtomicU64::new(1)));
        let read: fn(&AtomicU64) -> u64 = |source| source.load(Ordering::Relaxed);
        register(&registry, &source, &[("things", "Things.", read)]).unwrap();
        let value = || registry.gather()[0].get_metric()[0].get_gauge().get_value();
        assert_eq!(value(), 1.0);
        source.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(value(), i64::MAX as f64);
        assert!(register(&registry, &source, &[("things", "Again.", read)]).is_err());
        assert!(register(&registry, &source, &[("no name", "No.", read)]).is_err());
    }
}
