//! The network: delay, loss, duplication, reordering, cuts that may be one way only.

use super::events::Micros;
use super::faults::{Fault, Tally};
use super::random::Random;

/// Who sends and receives. Members come first, clients behind them.
pub type Address = usize;

/// How the network treats messages at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    pub delay_min: Micros,
    pub delay_max: Micros,
    /// Of a million messages, this many are lost.
    pub loss_ppm: u32,
    /// This many arrive twice.
    pub duplicate_ppm: u32,
    /// This many take up to [`Weather::stray_max`].
    pub stray_ppm: u32,
    pub stray_max: Micros,
    /// Whether messages overtake each other: otherwise each link keeps their order, as a connection does.
    pub reorder: bool,
}

impl Weather {
    /// A healthy local network.
    pub const FAIR: Self = Self {
        delay_min: 200,
        delay_max: 2_000,
        loss_ppm: 0,
        duplicate_ppm: 0,
        stray_ppm: 0,
        stray_max: 0,
        reorder: false,
    };
}

/// Which links are cut, and what happens to messages on the others.
#[derive(Debug)]
pub struct Network {
    pub weather: Weather,
    addresses: usize,
    /// Words of 64 bits in a row of `cut`.
    words: usize,
    /// A row for each sender: a bit for each receiver that nothing reaches.
    cut: Vec<u64>,
    /// When the last message on each link arrives, where links keep their order.
    last: Vec<Micros>,
}

/// Networks of more addresses than this do not keep the order of messages on a link: remembering it takes a number a link.
const ORDERED_MAX: usize = 256;

/// When copies of a message arrive: none, one or two.
pub type Arrivals = [Option<Micros>; 2];

impl Network {
    pub fn new(addresses: usize) -> Self {
        let words = addresses.div_ceil(64);
        let links = if addresses <= ORDERED_MAX {
            addresses * addresses
        } else {
            0
        };
        Self {
            weather: Weather::FAIR,
            addresses,
            words,
            cut: vec![0; addresses * words],
            last: vec![0; links],
        }
    }

    /// Cuts or restores one direction of one link.
    pub fn set_cut(&mut self, from: Address, to: Address, cut: bool) {
        let word = &mut self.cut[from * self.words + to / 64];
        if cut {
            *word |= 1 << (to % 64);
        } else {
            *word &= !(1 << (to % 64));
        }
    }

    /// Cuts everything between those in `side` (a bit each) and the rest, in both directions.
    pub fn split(&mut self, side: u64) {
        assert!(self.words <= 1, "a side is 64 bits");
        for from in 0..self.addresses {
            let other = if side >> from & 1 == 1 { !side } else { side };
            self.cut[from] |= other;
        }
    }

    /// The same for any number of addresses.
    pub fn split_by(&mut self, is_inside: impl Fn(Address) -> bool) {
        for from in 0..self.addresses {
            for to in (0..self.addresses).filter(|to| is_inside(*to) != is_inside(from)) {
                self.set_cut(from, to, true);
            }
        }
    }

    pub fn heal(&mut self) {
        self.cut.fill(0);
    }

    pub fn is_cut(&self, from: Address, to: Address) -> bool {
        self.cut[from * self.words + to / 64] >> (to % 64) & 1 == 1
    }

    /// Decides the fate of a message sent now.
    pub fn send(
        &mut self,
        from: Address,
        to: Address,
        now: Micros,
        random: &mut Random,
        tally: &mut Tally,
    ) -> Arrivals {
        if self.is_cut(from, to) {
            tally.count(Fault::MessageCut);
            return [None, None];
        }
        let weather = self.weather;
        if random.one_in_a_million(weather.loss_ppm) {
            tally.count(Fault::MessageLost);
            return [None, None];
        }
        let first = self.arrival(from, to, now, random, tally);
        let second = random.one_in_a_million(weather.duplicate_ppm).then(|| {
            tally.count(Fault::MessageDuplicated);
            self.arrival(from, to, now, random, tally)
        });
        [Some(first), second]
    }

    fn arrival(&mut self, from: Address, to: Address, now: Micros, random: &mut Random, tally: &mut Tally) -> Micros {
        let weather = self.weather;
        if random.one_in_a_million(weather.stray_ppm) {
            tally.count(Fault::MessageStrayed);
            return now + random.between(weather.delay_max, weather.stray_max.max(weather.delay_max));
        }
        let arrival = now + random.between(weather.delay_min, weather.delay_max);
        let Some(last) = self.last.get_mut(from * self.addresses + to) else {
            return arrival;
        };
        if weather.reorder {
            if arrival < *last {
                tally.count(Fault::MessageReordered);
            }
            *last = arrival.max(*last);
            return arrival;
        }
        *last = arrival.max(*last);
        *last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(weather: Weather, messages: u64) -> (Vec<Arrivals>, Tally) {
        let (mut network, mut random, mut tally) = (Network::new(3), Random::new(5), Tally::default());
        network.weather = weather;
        let sent = (0..messages)
            .map(|n| network.send(0, 1, n * 100, &mut random, &mut tally))
            .collect();
        (sent, tally)
    }

    #[test]
    fn a_fair_network_delivers_once_in_order() {
        let (sent, tally) = arrivals(Weather::FAIR, 1_000);
        assert!(sent.iter().all(|[first, second]| first.is_some() && second.is_none()));
        assert!(sent.is_sorted_by_key(|arrival| arrival[0]));
        assert_eq!(tally.total(), 0);
    }

    #[test]
    fn bad_weather_loses_doubles_and_reorders() {
        let weather = Weather {
            loss_ppm: 100_000,
            duplicate_ppm: 100_000,
            stray_ppm: 10_000,
            stray_max: 5_000_000,
            reorder: true,
            ..Weather::FAIR
        };
        let (sent, tally) = arrivals(weather, 10_000);
        let lost = sent.iter().filter(|[first, _]| first.is_none()).count();
        let doubled = sent.iter().filter(|[_, second]| second.is_some()).count();
        assert!(
            (800..1_200).contains(&lost) && (700..1_100).contains(&doubled),
            "{lost} {doubled}"
        );
        assert!(tally.of(Fault::MessageReordered) > 100 && tally.of(Fault::MessageStrayed) > 50);
        assert_eq!(tally.of(Fault::MessageLost), lost as u64);
    }

    #[test]
    fn a_cut_may_be_one_way_and_a_split_is_both() {
        let (mut network, mut random, mut tally) = (Network::new(4), Random::new(5), Tally::default());
        let mut passes =
            |network: &mut Network, from, to| network.send(from, to, 0, &mut random, &mut tally)[0].is_some();
        network.set_cut(0, 1, true);
        assert!(!passes(&mut network, 0, 1) && passes(&mut network, 1, 0));
        network.heal();
        network.split(0b0011);
        assert!(passes(&mut network, 0, 1) && passes(&mut network, 2, 3));
        assert!(!passes(&mut network, 0, 2) && !passes(&mut network, 3, 1));
        network.heal();
        assert!(passes(&mut network, 0, 2));
    }
}
