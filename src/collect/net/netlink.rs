//! As much of rtnetlink as two dumps need: links and queueing disciplines with their 64-bit counters.

use crate::collect::text::text;
use crate::snapshot::{Iface, Qdisc};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::io::Errno;
use std::io;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
const TC_H_ROOT: u32 = 0xffff_ffff;

/// A socket of the network namespace in which it was made; it works from any thread and pins that namespace.
pub(super) struct Route {
    socket: Socket,
    seq: u32,
    buf: Vec<u8>,
}

impl Route {
    /// The kernel fills up to 32 KiB a message when the buffer allows it.
    const BUFFER: usize = 64 << 10;

    /// A socket of the calling thread's namespace.
    pub(super) fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, seq: 0, buf: Vec::with_capacity(Self::BUFFER) })
    }

    /// Every link.
    pub(super) fn links(&mut self) -> io::Result<Vec<Link>> {
        // struct ifinfomsg, then IFLA_EXT_MASK = RTEXT_FILTER_SKIP_STATS: no IPv6 counters, which are half the answer.
        let mut body = vec![0; 16];
        body.extend(8_u16.to_ne_bytes());
        body.extend(29_u16.to_ne_bytes());
        body.extend(8_u32.to_ne_bytes());
        let mut links = Vec::new();
        self.dump(RTM_GETLINK, &body, |message| {
            if message.kind == RTM_NEWLINK {
                links.extend(parse_link(message.body));
            }
        })?;
        Ok(links)
    }

    /// Every queueing discipline, with the index of its interface.
    pub(super) fn qdiscs(&mut self) -> io::Result<Vec<(u32, Qdisc)>> {
        let mut qdiscs = Vec::new();
        self.dump(RTM_GETQDISC, &[0; 20], |message| {
            if message.kind == RTM_NEWQDISC {
                qdiscs.extend(parse_qdisc(message.body));
            }
        })?;
        Ok(qdiscs)
    }

    fn dump(&mut self, kind: u16, body: &[u8], mut each: impl FnMut(&Message<'_>)) -> io::Result<()> {
        self.seq = self.seq.wrapping_add(1);
        self.socket.send(&request(kind, self.seq, body), 0)?;
        loop {
            self.buf.clear();
            self.socket.recv(&mut self.buf, 0)?;
            // What an earlier dump that was given up left behind has another number.
            for message in messages(&self.buf).filter(|m| m.seq == self.seq) {
                match message.kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        let code = i32_at(message.body, 0).unwrap_or(0).wrapping_neg();
                        return Err(io::Error::from_raw_os_error(code));
                    }
                    _ => each(&message),
                }
            }
        }
    }
}

/// The error as an errno; netlink gives no others.
pub(super) fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// An interface with what else its message holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Link {
    pub index: u32,
    /// Whether its speed is one that the driver made up (`veth` says 10 Gbit/s, `tun` 10 Mbit/s).
    pub made_up_speed: bool,
    pub iface: Iface,
}

struct Message<'a> {
    kind: u16,
    seq: u32,
    body: &'a [u8],
}

fn request(kind: u16, seq: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(0);
    let mut bytes = Vec::with_capacity(16 + body.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    bytes.extend(seq.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes
}

/// The whole messages of a datagram; each is aligned to 4 bytes.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let message = Message { kind: u16_at(bytes, 4)?, seq: u32_at(bytes, 8)?, body: bytes.get(16..length)? };
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes of a message or of an attribute that nests them.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// Without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
    const TYPE_MASK: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let attribute = (u16_at(bytes, 2)? & TYPE_MASK, bytes.get(4..length)?);
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some(attribute)
    })
}

fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

/// `RTM_NEWLINK`: struct ifinfomsg, then attributes.
fn parse_link(body: &[u8]) -> Option<Link> {
    const IFF_UP: u32 = 1;
    let (index, flags) = (u32_at(body, 4)?, u32_at(body, 8)?);
    let (mut name, mut stats64, mut stats32, mut made_up_speed) = (None, None, None, false);
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            3 => name = Some(c_text(value)),
            7 => stats32 = Some(value),
            23 => stats64 = Some(value),
            18 => {
                let kind = attributes(value).find(|a| a.0 == 1).map(|a| c_text(a.1));
                made_up_speed = matches!(kind, Some(b"veth" | b"tun" | b"dummy" | b"ifb"));
            }
            _ => {}
        }
    }
    // IFLA_STATS64 since 2.6.35; the 32-bit block has the same order.
    let stat = |at: usize| match (stats64, stats32) {
        (Some(bytes), _) => u64_at(bytes, at * 8),
        (None, Some(bytes)) => u32_at(bytes, at * 4).map(u64::from),
        (None, None) => None,
    };
    let iface = Iface {
        name: text(name?),
        up: flags & IFF_UP != 0,
        rx_packets: stat(0)?,
        tx_packets: stat(1)?,
        rx_bytes: stat(2)?,
        tx_bytes: stat(3)?,
        rx_errors: stat(4)?,
        tx_errors: stat(5)?,
        rx_dropped: stat(6)?,
        tx_dropped: stat(7)?,
        rx_fifo: stat(14)?,
        rx_missed: stat(15),
        speed_mbit: None,
    };
    Some(Link { index, made_up_speed, iface })
}

/// `RTM_NEWQDISC`: struct tcmsg, then attributes. The interface's name is the caller's to fill in.
fn parse_qdisc(body: &[u8]) -> Option<(u32, Qdisc)> {
    let (index, parent) = (u32_at(body, 4)?, u32_at(body, 12)?);
    let mut qdisc = Qdisc { handle: u32_at(body, 8)?, root: parent == TC_H_ROOT, ..Qdisc::default() };
    let mut options = &[][..];
    for (kind, value) in attributes(body.get(20..)?) {
        match kind {
            1 => qdisc.kind = text(c_text(value)),
            2 => options = value,
            7 => qdisc_stats(&mut qdisc, value),
            _ => {}
        }
    }
    qdisc.rate_bytes_per_sec = rate(&qdisc.kind, options);
    Some((index, qdisc))
}

/// `TCA_STATS2`: struct gnet_stats_basic, gnet_stats_queue, and since 5.5 the packets in 64 bits.
fn qdisc_stats(qdisc: &mut Qdisc, stats: &[u8]) {
    for (kind, value) in attributes(stats) {
        match kind {
            1 => {
                qdisc.bytes = u64_at(value, 0).unwrap_or(0);
                qdisc.packets = qdisc.packets.max(u32_at(value, 8).unwrap_or(0).into());
            }
            3 => {
                let queue = |at: usize| u64::from(u32_at(value, at * 4).unwrap_or(0));
                qdisc.queue_packets = queue(0);
                qdisc.backlog_bytes = queue(1);
                qdisc.drops = queue(2);
                qdisc.requeues = queue(3);
                qdisc.overlimits = queue(4);
            }
            8 => qdisc.packets = u64_at(value, 0).unwrap_or(qdisc.packets),
            _ => {}
        }
    }
}

/// The rate to which a discipline without classes shapes: `tbf` and `netem` have it in 32 bits, and in 64 where it
/// does not fit; `cake` in 64 only.
fn rate(kind: &str, options: &[u8]) -> Option<u64> {
    let find = |options, wanted| attributes(options).find(|a| a.0 == wanted).map(|a| a.1);
    let (narrow, wide) = match kind {
        // TCA_TBF_PARMS: struct tc_ratespec first, its rate the last word; TCA_TBF_RATE64.
        "tbf" => (find(options, 1).and_then(|p| u32_at(p, 8)), find(options, 4)),
        // struct tc_netem_qopt first; TCA_NETEM_RATE: its rate the first word; TCA_NETEM_RATE64.
        "netem" => {
            let options = options.get(24..).unwrap_or_default();
            (find(options, 6).and_then(|r| u32_at(r, 0)), find(options, 8))
        }
        // TCA_CAKE_BASE_RATE64.
        "cake" => (None, find(options, 2)),
        _ => (None, None),
    };
    wide.and_then(|w| u64_at(w, 0)).or(narrow.map(u64::from)).filter(|rate| *rate > 0)
}

fn c_text(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_ne_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_ne_bytes(*b))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk().map(|b| i32::from_ne_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from_ne_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A namespace with `lo`, and `wtv0`, one end of a veth pair behind a `tbf` of 800 kbit/s that dropped.
    const LINKS: &[u8] = include_bytes!("../../../tests/fixtures/netlink/links-6.18.bin");
    const QDISCS: &[u8] = include_bytes!("../../../tests/fixtures/netlink/qdiscs-6.18.bin");

    fn links(bytes: &[u8]) -> Vec<Link> {
        messages(bytes).filter(|m| m.kind == RTM_NEWLINK).filter_map(|m| parse_link(m.body)).collect()
    }

    fn qdiscs(bytes: &[u8]) -> Vec<(u32, Qdisc)> {
        messages(bytes).filter(|m| m.kind == RTM_NEWQDISC).filter_map(|m| parse_qdisc(m.body)).collect()
    }

    #[test]
    fn links_as_ip_shows_them() {
        let links = links(LINKS);
        let [lo, veth] = links.as_slice() else { panic!("{links:?}") };
        assert_eq!((&*lo.iface.name, lo.index, lo.made_up_speed), ("lo", 1, false));
        let expected = Iface {
            name: "wtv0".into(),
            up: true,
            rx_bytes: 3418,
            rx_packets: 11,
            rx_missed: Some(0),
            tx_bytes: 5678,
            tx_packets: 11,
            ..Iface::default()
        };
        assert_eq!(*veth, Link { index: 3, made_up_speed: true, iface: expected });
    }

    #[test]
    fn qdiscs_as_tc_shows_them() {
        let qdiscs = qdiscs(QDISCS);
        let [(1, lo), (3, tbf)] = qdiscs.as_slice() else { panic!("{qdiscs:?}") };
        assert_eq!((&*lo.kind, lo.rate_bytes_per_sec), ("noqueue", None));
        let expected = Qdisc {
            kind: "tbf".into(),
            handle: 0x1_0000,
            root: true,
            bytes: 5678,
            packets: 11,
            drops: 495,
            overlimits: 505,
            rate_bytes_per_sec: Some(100_000),
            ..Qdisc::default()
        };
        assert_eq!(*tbf, expected);
    }

    #[test]
    fn a_request_is_one_whole_message() {
        let request = request(RTM_GETQDISC, 7, &[0; 20]);
        let message = messages(&request).next().unwrap();
        assert_eq!((request.len(), message.kind, message.seq, message.body.len()), (36, RTM_GETQDISC, 7, 20));
    }

    #[test]
    fn rates_in_64_bits_and_of_other_kinds() {
        let attribute = |kind: u16, value: &[u8]| {
            let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(value);
            bytes
        };
        let huge = 5_000_000_000_u64;
        let mut tbf = attribute(1, &[[0xff_u8; 12].as_slice(), &[0; 24]].concat());
        tbf.extend(attribute(4, &huge.to_ne_bytes()));
        assert_eq!(rate("tbf", &tbf), Some(huge));
        let mut netem = vec![0; 24];
        netem.extend(attribute(6, &12_500_u32.to_ne_bytes()));
        assert_eq!(rate("netem", &netem), Some(12_500));
        assert_eq!(rate("netem", &[0; 24]), None);
        assert_eq!(rate("cake", &attribute(2, &0_u64.to_ne_bytes())), None, "0 is unlimited");
        assert_eq!(rate("fq_codel", &tbf), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            links(&bytes);
            qdiscs(&bytes);
            let _ = (parse_link(&bytes), parse_qdisc(&bytes), rate("tbf", &bytes), rate("netem", &bytes));
        }

        #[test]
        fn never_panics_on_damage(at in 0..LINKS.len(), byte: u8, cut in 0..LINKS.len()) {
            let mut bytes = LINKS.to_vec();
            bytes[at] = byte;
            links(&bytes);
            links(&bytes[..cut]);
            let mut bytes = QDISCS.to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            qdiscs(&bytes);
        }
    }
}
