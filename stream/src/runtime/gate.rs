//! The input of a task: channels merged, watermarks combined, barriers aligned.

use std::task::{Context, Poll};

use tokio::sync::mpsc;

use crate::operator::Event;
use crate::time::{ChannelWatermarks, END};

/// What goes over a channel.
#[derive(Debug, Clone)]
pub enum Message {
    Event(Event),
    /// Everything before it belongs to the epoch.
    Barrier(u64),
}

/// What a gate hands on.
#[derive(Debug)]
pub enum Input {
    Event(Event),
    /// The barrier has come on all channels.
    Barrier(u64),
}

/// Channels read as one.
///
/// - After a barrier a channel is not read until the others have brought theirs; an ended channel counts as having.
/// - A row meets at most the least watermark of the other channels.
/// - The last thing is one `End`.
pub struct Gate {
    channels: Vec<Channel>,
    watermarks: ChannelWatermarks,
    /// The epoch being aligned.
    epoch: Option<u64>,
    /// Where the next poll begins, so that no channel starves.
    next: usize,
    ended: bool,
    /// Whether all channels are idle, as it was last handed on.
    idle: bool,
    /// What comes behind the input that was handed on last.
    waiting: Option<Input>,
}

struct Channel {
    receiver: mpsc::Receiver<Message>,
    side: u8,
    blocked: bool,
    ended: bool,
}

impl Gate {
    pub fn new(receivers: Vec<(mpsc::Receiver<Message>, u8)>) -> Self {
        let channels = receivers.into_iter().map(|(receiver, side)| Channel {
            receiver,
            side,
            blocked: false,
            ended: false,
        });
        let channels: Vec<Channel> = channels.collect();
        let watermarks = ChannelWatermarks::new(channels.len());
        Self {
            channels,
            watermarks,
            epoch: None,
            next: 0,
            ended: false,
            idle: false,
            waiting: None,
        }
    }

    /// The next input; none if an upstream task died without an end. Cancel safe.
    pub async fn next(&mut self) -> Option<Input> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Input>> {
        if let Some(waiting) = self.waiting.take() {
            return Poll::Ready(Some(waiting));
        }
        loop {
            if let Some(epoch) = self.epoch
                && self.channels.iter().all(|channel| channel.blocked || channel.ended)
            {
                self.epoch = None;
                self.channels.iter_mut().for_each(|channel| channel.blocked = false);
                return Poll::Ready(Some(Input::Barrier(epoch)));
            }
            if !self.ended && self.channels.iter().all(|channel| channel.ended) {
                self.ended = true;
                return Poll::Ready(Some(Input::Event(Event::End)));
            }
            match self.poll_channels(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some((channel, message))) => {
                    if let Some(input) = self.take(channel, message) {
                        return Poll::Ready(Some(input));
                    }
                }
                Poll::Ready(None) => return Poll::Ready(None),
            }
        }
    }

    fn poll_channels(&mut self, context: &mut Context<'_>) -> Poll<Option<(usize, Message)>> {
        let count = self.channels.len();
        for step in 0..count {
            let number = (self.next + step) % count;
            let channel = &mut self.channels[number];
            if channel.blocked || channel.ended {
                continue;
            }
            match channel.receiver.poll_recv(context) {
                Poll::Pending => {}
                Poll::Ready(Some(message)) => {
                    self.next = number + 1;
                    return Poll::Ready(Some((number, message)));
                }
                // A channel that closes without an end belongs to a task that failed.
                Poll::Ready(None) => return Poll::Ready(None),
            }
        }
        Poll::Pending
    }

    fn take(&mut self, number: usize, message: Message) -> Option<Input> {
        match message {
            Message::Barrier(epoch) => {
                self.channels[number].blocked = true;
                self.epoch = Some(epoch);
                None
            }
            Message::Event(Event::Rows(mut rows)) => {
                rows.before = rows.before.capped(self.watermarks.others(number));
                rows.side = self.channels[number].side;
                Some(Input::Event(Event::Rows(rows)))
            }
            Message::Event(Event::Watermark(watermark)) => self
                .watermarks
                .advance(number, watermark)
                .map(|w| Input::Event(Event::Watermark(w))),
            Message::Event(Event::End) => {
                self.channels[number].ended = true;
                self.watermarks
                    .advance(number, END)
                    .map(|w| Input::Event(Event::Watermark(w)))
            }
            Message::Event(Event::Idle(idle)) => {
                let watermark = self.watermarks.set_idle(number, idle);
                let changed = self.watermarks.is_idle();
                if changed != self.idle {
                    self.idle = changed;
                    self.waiting = Some(Input::Event(Event::Idle(changed)));
                }
                watermark
                    .map(|w| Input::Event(Event::Watermark(w)))
                    .or_else(|| self.waiting.take())
            }
            // Splits are a source's own business.
            Message::Event(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_barrier_waits_for_all_channels_and_an_ended_one_does_not_hold_it() {
        let (a, from_a) = mpsc::channel(10);
        let (b, from_b) = mpsc::channel(10);
        let mut gate = Gate::new(vec![(from_a, 0), (from_b, 1)]);
        a.send(Message::Barrier(1)).await.unwrap();
        a.send(Message::Event(Event::Watermark(9))).await.unwrap();
        b.send(Message::Event(Event::Watermark(5))).await.unwrap();
        b.send(Message::Barrier(1)).await.unwrap();
        // The watermark behind the barrier is not read before the other barrier has come.
        assert!(matches!(gate.next().await, Some(Input::Barrier(1))));
        assert!(matches!(gate.next().await, Some(Input::Event(Event::Watermark(5)))));
        b.send(Message::Event(Event::End)).await.unwrap();
        assert!(matches!(gate.next().await, Some(Input::Event(Event::Watermark(9)))));
        a.send(Message::Barrier(2)).await.unwrap();
        assert!(matches!(gate.next().await, Some(Input::Barrier(2))));
        a.send(Message::Event(Event::End)).await.unwrap();
        assert!(matches!(gate.next().await, Some(Input::Event(Event::Watermark(END)))));
        assert!(matches!(gate.next().await, Some(Input::Event(Event::End))));
    }

    #[tokio::test]
    async fn a_channel_that_breaks_off_is_no_end() {
        let (a, from_a) = mpsc::channel::<Message>(1);
        let mut gate = Gate::new(vec![(from_a, 0)]);
        drop(a);
        assert!(gate.next().await.is_none());
    }
}
