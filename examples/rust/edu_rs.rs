// SPDX-License-Identifier: MIT
//! edu_rs: a driver in Rust, on the kernel's interface alone (<udrv/udrv.h>), without a crate.
//!
//! QEMU's teaching device (-device edu) computes factorials; this driver has it do that, again
//! and again, by interrupt, and checks the results, until SIGTERM.
//!
//!     make && UDRV_DRIVER_PATH=$PWD udrv run edu_rs BDF --restart
use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem::size_of;
use std::os::raw::{c_int, c_long, c_ulong, c_void};
use std::os::unix::io::{AsRawFd, FromRawFd, RawFd};
use std::process;
use std::ptr;
use std::sync::atomic::{fence, AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

// What is used of the C library, as Linux on 64 bits has it.
extern "C" {
    fn ioctl(file: c_int, request: c_ulong, ...) -> c_int;
    fn mmap(at: *mut c_void, bytes: usize, prot: c_int, flags: c_int, file: c_int, offset: i64) -> *mut c_void;
    fn poll(files: *mut PollFile, count: c_ulong, timeout_ms: c_int) -> c_int;
    fn signal(number: c_int, handler: usize) -> usize;
    fn sigemptyset(set: *mut SignalSet) -> c_int;
    fn sigaddset(set: *mut SignalSet, number: c_int) -> c_int;
    fn sigprocmask(how: c_int, set: *const SignalSet, old: *mut SignalSet) -> c_int;
    fn sigtimedwait(set: *const SignalSet, info: *mut c_void, timeout: *const [c_long; 2]) -> c_int;
}
const PROT_READ_WRITE: c_int = 3;
const MAP_SHARED: c_int = 1;
const POLLIN: i16 = 1;
const SIG_IGN: usize = 1;
const SIG_UNBLOCK: c_int = 1;
const SIGHUP: c_int = 1;
const SIGINT: c_int = 2;
const SIGUSR1: c_int = 10;
const SIGUSR2: c_int = 12;
const SIGTERM: c_int = 15;
const SIGCHLD: c_int = 17;

#[repr(C)]
struct PollFile {
    file: c_int,
    events: i16,
    returned: i16,
}
#[repr(C, align(8))]
struct SignalSet([u8; 128]);

/// As _IO of linux/ioctl.h makes it: a structure says its size in its first four bytes.
const fn ioctl_number(number: c_ulong) -> c_ulong {
    (b'u' as c_ulong) << 8 | number
}
const ABI_VERSION: u32 = 4;
const INFO: c_ulong = ioctl_number(0x10);
const IRQ_SETUP: c_ulong = ioctl_number(0x12);
const IRQ_OPEN: c_ulong = ioctl_number(0x13);
const BUS_MASTER: c_ulong = ioctl_number(0x15);
const IRQ_INTX: u32 = 0;
const IRQ_MSI: u32 = 1;

/// struct udrv_bar_info
#[repr(C)]
#[derive(Default)]
struct BarInfo {
    start: u64,
    len_bytes: u64,
    flags: u32,
    page_offset: u32,
}

/// struct udrv_info
#[repr(C)]
#[derive(Default)]
struct Info {
    size: u32,
    abi_version: u32,
    features: u64,
    flags: u32,
    ids: [u16; 4],
    class_code: u32,
    nr_msi: u32,
    nr_msix: u32,
    bars: [BarInfo; 6],
}

/// struct udrv_irq_setup
#[repr(C)]
#[derive(Default)]
struct IrqSetup {
    size: u32,
    mode: u32,
    nr_vectors: u32,
    reserved: u32,
    line: [u32; 32],
}

// Registers, in BAR 0 (QEMU, docs/specs/edu).
const IDENTIFICATION: usize = 0x00;
const FACTORIAL: usize = 0x08;
const STATUS: usize = 0x20;
const IRQ_STATUS: usize = 0x24;
const IRQ_ACK: usize = 0x64;
const STATUS_COMPUTING: u32 = 0x01;
const STATUS_IRQ: u32 = 0x80;

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn on_stop(_number: c_int) {
    STOP.store(true, Ordering::Relaxed);
}

fn failed(what: &str, problem: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::Other, format!("{}: {}", what, problem))
}

/// The result of a call of the C library, negative if it failed.
fn done(result: c_int, what: &str) -> io::Result<c_int> {
    if result < 0 {
        return Err(failed(what, io::Error::last_os_error()));
    }
    Ok(result)
}

fn map(file: RawFd, bytes: usize, what: &str) -> io::Result<*mut u8> {
    let at = unsafe { mmap(ptr::null_mut(), bytes, PROT_READ_WRITE, MAP_SHARED, file, 0) };
    if at as isize == -1 {
        return Err(failed(what, io::Error::last_os_error()));
    }
    Ok(at as *mut u8)
}

/// Whether the file can be read within the time.
fn readable(file: RawFd, timeout_ms: c_int) -> bool {
    loop {
        let mut files = PollFile { file, events: POLLIN, returned: 0 };
        let got = unsafe { poll(&mut files, 1, timeout_ms) };
        // A signal is no answer; the request to stop is looked at when there is one.
        if got >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return got > 0;
        }
    }
}

/// This process's end of docs/driver-protocol.md; does nothing without a supervisor.
struct Supervised {
    files: Option<(File, File)>, // turn, status
    beats: *const AtomicU64,
    count: u64,
}

impl Supervised {
    fn begin() -> io::Result<Supervised> {
        let mut own = Supervised { files: None, beats: ptr::null(), count: 0 };
        let tried = "take part in supervision";
        match env::var("UDRV_PROTOCOL") {
            Err(_) => return Ok(own),
            Ok(version) if version != "1" => return Err(failed(tried, "it speaks another protocol")),
            Ok(_) => {}
        }
        let file = |name: &str| -> io::Result<RawFd> {
            env::var(name).ok().and_then(|text| text.parse().ok()).ok_or_else(|| failed(tried, name))
        };
        own.beats = map(file("UDRV_HEARTBEAT_FD")?, 4096, tried)? as *const AtomicU64;
        let (turn, status) = (file("UDRV_TURN_FD")?, file("UDRV_STATUS_FD")?);
        own.files = Some(unsafe { (File::from_raw_fd(turn), File::from_raw_fd(status)) });
        Ok(own)
    }

    fn wait_for_turn(&mut self) -> io::Result<bool> {
        let (turn, status) = match &mut self.files {
            None => return Ok(true),
            Some((turn, status)) => (turn, status),
        };
        status.write_all(b"ready\n")?;
        let mut signals = SignalSet([0; 128]);
        unsafe { sigemptyset(&mut signals) };
        for number in [SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1, SIGUSR2] {
            unsafe { sigaddset(&mut signals, number) };
        }
        loop {
            // Signals are blocked: look at them a few times a second.
            let ready = readable(turn.as_raw_fd(), 100);
            let mut stop = false;
            loop {
                match unsafe { sigtimedwait(&signals, ptr::null_mut(), &[0, 0]) } {
                    SIGTERM => stop = true,
                    number if number <= 0 => break,
                    _ => {}
                }
            }
            if stop || (ready && turn.read(&mut [0])? == 0) {
                return Ok(false);
            }
            if ready {
                unsafe { sigprocmask(SIG_UNBLOCK, &signals, ptr::null_mut()) };
                return Ok(true);
            }
        }
    }

    fn serving(&mut self) -> io::Result<()> {
        match &mut self.files {
            None => Ok(()),
            Some((_, status)) => status.write_all(b"serving\n"),
        }
    }

    fn beat(&mut self) {
        if !self.beats.is_null() {
            self.count += 1;
            unsafe { (*self.beats).store(self.count, Ordering::Relaxed) };
        }
    }
}

struct Edu {
    _device: File, // the session
    irq: File,
    registers: *mut u8,
}

impl Edu {
    fn open(bdf: &str) -> io::Result<Edu> {
        let path = format!("/dev/udrv/{}", bdf);
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| failed(&format!("open {}", path), format!("{}; `udrv bind` it first", error)))?;
        let file = device.as_raw_fd();
        let mut info = Info { size: size_of::<Info>() as u32, abi_version: ABI_VERSION, ..Default::default() };
        let answer = done(unsafe { ioctl(file, INFO, &mut info) }, "ask for the device");
        if info.abi_version != ABI_VERSION {
            let problem = format!("its ABI is {}, ours is {}", info.abi_version, ABI_VERSION);
            return Err(failed("ask for the device", problem));
        }
        answer?;
        let nr_msi = info.nr_msi;
        let bar0_bytes = info.bars[0].len_bytes as usize;
        let registers = map(file, bar0_bytes, "map BAR 0")?;
        let mut edu = Edu { irq: device.try_clone()?, _device: device, registers };
        if edu.read(IDENTIFICATION) & 0xffff != 0x00ed {
            return Err(failed("look at the device", "it is no edu"));
        }
        edu.wait_until_quiet()?;
        let mut setup = IrqSetup {
            size: size_of::<IrqSetup>() as u32,
            mode: if nr_msi != 0 { IRQ_MSI } else { IRQ_INTX },
            nr_vectors: 1,
            ..Default::default()
        };
        done(unsafe { ioctl(file, IRQ_SETUP, &mut setup) }, "choose the interrupt")?;
        let irq = done(unsafe { ioctl(file, IRQ_OPEN, 0 as c_ulong) }, "open the interrupt")?;
        edu.irq = unsafe { File::from_raw_fd(irq) };
        // MSI is a write to memory: it needs bus mastering.
        done(unsafe { ioctl(file, BUS_MASTER, 1 as c_ulong) }, "switch bus mastering on")?;
        Ok(edu)
    }

    /// One access of four bytes.
    fn read(&self, offset: usize) -> u32 {
        unsafe { ptr::read_volatile(self.registers.add(offset) as *const u32) }
    }

    fn write(&self, offset: usize, value: u32) {
        fence(Ordering::SeqCst); // memory first, for the device
        unsafe { ptr::write_volatile(self.registers.add(offset) as *mut u32, value) }
    }

    /// A predecessor that was killed may have begun something, and edu has no reset.
    fn wait_until_quiet(&self) -> io::Result<()> {
        for _ in 0..1000 {
            if self.read(STATUS) & STATUS_COMPUTING == 0 {
                self.write(IRQ_ACK, self.read(IRQ_STATUS));
                return Ok(());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(failed("wait for what an earlier driver began", "busy for a second"))
    }

    fn factorial(&mut self, number: u32) -> io::Result<u32> {
        self.write(STATUS, STATUS_IRQ);
        self.write(FACTORIAL, number);
        if !readable(self.irq.as_raw_fd(), 1000) {
            return Err(failed(&format!("wait for {}!", number), "no interrupt in a second"));
        }
        self.irq.read(&mut [0; 8])?;
        self.write(IRQ_ACK, self.read(IRQ_STATUS));
        Ok(self.read(FACTORIAL))
    }
}

fn drive(bdf: &str) -> io::Result<()> {
    let mut supervised = Supervised::begin()?;
    unsafe {
        signal(SIGTERM, on_stop as extern "C" fn(c_int) as usize);
        signal(SIGINT, on_stop as extern "C" fn(c_int) as usize);
        signal(SIGUSR1, SIG_IGN);
    }
    if !supervised.wait_for_turn()? {
        return Ok(());
    }
    let mut edu = Edu::open(bdf)?;
    println!("edu_rs at {} ready, pid {}", bdf, process::id());
    supervised.serving()?;
    let mut number = 0;
    while !STOP.load(Ordering::Relaxed) {
        let got = edu.factorial(number)?;
        let wanted: u32 = (1..=number).product();
        if got != wanted {
            return Err(failed(&format!("compute {}!", number), format!("got {}, wanted {}", got, wanted)));
        }
        supervised.beat();
        number = (number + 1) % 13;
    }
    Ok(())
}

fn main() {
    // Options of `udrv run` follow the address; none means anything to edu.
    let bdf = match env::args().nth(1) {
        Some(word) if !word.starts_with('-') => word,
        _ => {
            eprintln!("usage: udrv-edu_rs BDF [OPTION]...");
            process::exit(2);
        }
    };
    if let Err(error) = drive(&bdf) {
        eprintln!("udrv-edu_rs: {}", error);
        process::exit(1);
    }
}
