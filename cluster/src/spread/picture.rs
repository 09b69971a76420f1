//! A placement as a picture: racks side by side, nodes in them, a bar for each node's copies.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Candidate, Placement};

const NODE_WIDTH: usize = 46;
const BAR_MAX: u64 = 160;

/// The picture as SVG, with the cost written under it.
pub fn svg(placement: &Placement, nodes: &[Candidate], title: &str) -> String {
    let loads = placement.loads(nodes);
    let most = loads.values().copied().max().unwrap_or(0).max(1);
    let mut racks: BTreeMap<&str, Vec<&Candidate>> = BTreeMap::new();
    for node in nodes {
        racks.entry(&node.rack).or_default().push(node);
    }
    let width = 20 + nodes.len() * NODE_WIDTH + racks.len() * 20;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"270\" font-family=\"sans-serif\" font-size=\"11\">\n<text x=\"10\" y=\"18\" font-size=\"14\">{}</text>\n",
        escaped(title)
    );
    let mut x = 10;
    for (rack, members) in racks {
        let span = members.len() * NODE_WIDTH + 10;
        let _infallible = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"30\" width=\"{span}\" height=\"210\" fill=\"none\" stroke=\"#999\"/><text x=\"{}\" y=\"44\">{}</text>",
            x + 6,
            escaped(rack)
        );
        for (place, node) in members.iter().enumerate() {
            let load = loads.get(&node.node).copied().unwrap_or(0);
            let (left, height) = (x + 8 + place * NODE_WIDTH, load * BAR_MAX / most);
            let top = 215 - height;
            let _infallible = writeln!(
                svg,
                "<rect x=\"{left}\" y=\"{top}\" width=\"34\" height=\"{height}\" fill=\"#48a\"><title>{load} copies</title></rect><text x=\"{left}\" y=\"230\">{}</text>",
                node.node
            );
        }
        x += span + 10;
    }
    let _infallible = writeln!(
        svg,
        "<text x=\"10\" y=\"260\">cost {}</text>\n</svg>",
        placement.cost(nodes)
    );
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_a_bar_and_every_rack_a_frame() {
        let nodes: Vec<Candidate> = (0..4)
            .map(|node| Candidate {
                node,
                rack: format!("<r{}>", node % 2),
                load_thousandths: 0,
                free_bytes: 0,
                round_trip_micros: 0,
            })
            .collect();
        let placement = Placement {
            copies: BTreeMap::from([(1, vec![0, 1]), (2, vec![0, 3])]),
        };
        let picture = svg(&placement, &nodes, "before & after");
        assert_eq!(picture.matches("#48a").count(), 4);
        assert_eq!(picture.matches("stroke=\"#999\"").count(), 2);
        assert!(picture.contains("&lt;r1&gt;") && picture.contains("height=\"160\"") && picture.contains("cost 6"));
    }
}
