/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * udrv.h - what a driver process and udrv.ko say to each other.
 *
 * One PCI function bound to udrv is one character device, /dev/udrv/<bdf>
 * (for example /dev/udrv/0000:00:10.0). One process at a time may open it; the
 * open file is the *session*. Everything below belongs to the session and goes
 * when it ends, that is when the file is closed, when the process that opened
 * it dies (even if a child still holds the file), when the device is unbound,
 * or when the process breaks the protocol. A call on an ended session fails
 * with ENODEV; its mappings raise SIGBUS.
 *
 * All structures have fixed layouts (asserted at the end, in C and in C++; every
 * field in tests/static/abi-<version>.layout), the same for 32-bit and 64-bit
 * processes: no longs, no pointers, padding by name. Fields called `reserved` are
 * zero on the way in; the kernel refuses anything else with EINVAL, so that they
 * can get a meaning later.
 *
 * A structure that a call takes begins with its size, which the caller sets, and
 * may grow at its end (copy_struct_from_user() in the kernel). What a caller does
 * not have is zero for the kernel. What the kernel does not know must be zero,
 * else the call fails with E2BIG and nothing has been done. Elements of arrays and
 * what lies in shared memory do not grow.
 *
 * Errors that every call may return: ENODEV (session over), EFAULT (bad
 * pointer), EINVAL (value out of range, reserved field not zero, unknown flag, size
 * below that of the first version), E2BIG (see above), EPERM (not the process that
 * opened the device), ENOMEM.
 */
#ifndef UDRV_UDRV_H
#define UDRV_UDRV_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define UDRV_ABI_VERSION	4

#define UDRV_MAX_IRQS		32	/* vectors of one session */
#define UDRV_MAX_DMA_REGIONS	65536	/* pinned regions of one session */
#define UDRV_MAX_DMA_BATCH	1024	/* regions in one exchange */
#define UDRV_NR_BARS		6
#define UDRV_MAX_STOP_WRITES	8	/* of one session */

/* ---- Device information -------------------------------------------------- */

/* As in linux/ioport.h. */
#define UDRV_BAR_IO		0x00000100	/* I/O ports: `start` is the first port */
#define UDRV_BAR_MEM		0x00000200	/* memory BAR: mmap it */
#define UDRV_BAR_PREFETCH	0x00002000
#define UDRV_BAR_MMAP		0x00000001	/* not one of them: mmap() is possible */

/*
 * A memory BAR is mapped in whole pages. If it is smaller than a page, the rest of
 * the page is reserved when the device is bound, so that no other device's registers
 * are shown with it. Where that is not possible UDRV_BAR_MMAP is not set; the kernel
 * parameter pci=resource_alignment=12@<bdf> moves the BAR to a page of its own.
 */
struct udrv_bar_info {
	__u64 start;		/* first port, or bus address */
	__u64 len_bytes;	/* 0: no such BAR */
	__u32 flags;		/* UDRV_BAR_* */
	__u32 page_offset;	/* of the BAR's first byte in its first page */
};

#define UDRV_DEV_INTX_MASKABLE	(1u << 0)	/* at the device, so the line may be shared */
#define UDRV_DEV_IOMMU		(1u << 1)	/* DMA is confined by an IOMMU */
#define UDRV_DEV_RESET		(1u << 2)	/* the function can be reset alone */
#define UDRV_DEV_MSI_MASKABLE	(1u << 3)	/* MSI has mask bits: see UDRV_IOC_IRQ_OPEN */

/*
 * What not every kernel of this ABI version has. A program names those that it would
 * use, and is told which of them there are.
 */
#define UDRV_FEATURES_ALL	0ULL	/* none yet */

/*
 * The first call of a session. EPROTO: the kernel speaks another version of the ABI;
 * abi_version says which, and nothing else is filled in. (Programs of versions 1 to 3
 * are answered with the version, which they compare; the rest of their calls have
 * numbers that are not used any more: ENOTTY.)
 */
struct udrv_info {
	__u32 size;
	__u32 abi_version;	/* in: UDRV_ABI_VERSION of the program; out: of the kernel */
	__u64 features;		/* in: that the program would use; out: of these, what is there */
	__u32 flags;		/* out: UDRV_DEV_* */
	__u16 vendor;		/* out, and so on */
	__u16 device;
	__u16 subsystem_vendor;
	__u16 subsystem_device;
	__u32 class_code;	/* base class << 16 | sub class << 8 | interface */
	__u32 nr_msi;		/* vectors the function offers */
	__u32 nr_msix;
	struct udrv_bar_info bars[UDRV_NR_BARS];
};

#define UDRV_IOC_INFO		_IO('u', 0x10)

/* ---- Configuration space ------------------------------------------------- */

/*
 * Reads are free, four bytes at a time. Writes, of one byte, go through an
 * allow-list: the cache line size, the latency timer, in a PCI-X capability the
 * maximum memory read byte count (the other bits of its byte as they are) and, for
 * Intel's PIIX3 and PIIX4 IDE functions (8086:7010, 8086:7111), the timing registers
 * 0x40-0x4f; all else is EPERM. Bus mastering has a call of its own.
 */
struct udrv_config {
	__u32 size;
	__u32 offset;		/* in bytes; to read, a multiple of 4 */
	__u32 value;		/* in: one byte, or out */
	__u32 write;		/* 0: read, 1: write */
};

#define UDRV_IOC_CONFIG		_IO('u', 0x11)

/* ---- Memory maps of the session file ------------------------------------- */

/*
 * mmap(2) offsets, below 2^44, which is what a 32-bit process can name: BAR n, the
 * shared rings of the attached port, and the coherent block of a handle, each with
 * room for offsets into it. All three are revoked when the session ends.
 */
#define UDRV_MMAP_SHIFT			40
#define UDRV_MMAP_BAR(n)		((__u64)(n) << UDRV_MMAP_SHIFT)
#define UDRV_MMAP_PORT			((__u64)6 << UDRV_MMAP_SHIFT)
#define UDRV_MMAP_COHERENT_SHIFT	26
#define UDRV_MMAP_COHERENT(handle) \
	(((__u64)8 << UDRV_MMAP_SHIFT) + ((__u64)(handle) << UDRV_MMAP_COHERENT_SHIFT))

/* ---- Interrupts ---------------------------------------------------------- */

#define UDRV_IRQ_INTX		0
#define UDRV_IRQ_MSI		1
#define UDRV_IRQ_MSIX		2

/*
 * MSI and MSI-X are writes to memory: none arrives before UDRV_IOC_BUS_MASTER has
 * switched bus mastering on. INTx does not need that.
 *
 * Choose how the device interrupts: once a session, before any vector is opened
 * (later: EBUSY). The number of vectors granted may be smaller than that asked
 * for; line[] holds the Linux interrupt number of each, the <n> of
 * /proc/irq/<n>/irq. INTx has one vector, or two (lines 14 and 15) if the device
 * is an IDE controller in compatibility mode. Of two devices on one line that
 * udrv serves, the second has its path as /proc/irq/<n>/irq-<bdf>.
 */
struct udrv_irq_setup {
	__u32 size;
	__u32 mode;		/* in: UDRV_IRQ_* */
	__u32 nr_vectors;	/* in: wanted, out: granted */
	__u32 reserved;
	__u32 line[UDRV_MAX_IRQS];	/* out */
};

#define UDRV_IOC_IRQ_SETUP	_IO('u', 0x12)

/*
 * For a chip without the INTx-disable bit (UDRV_DEV_INTX_MASKABLE not set: PCI 2.2 and
 * older), so that it can share its line: two register writes, one that makes it stop
 * asserting INTx and one that lets it again. The kernel does them in the handler, before
 * each wait, and at the session's end; the driver may write them, too, but cannot hold
 * interrupts back by them. Nothing tells whose an interrupt on the line is: while it is
 * unmasked, each counts as ours and wakes the reader. Before UDRV_IOC_IRQ_SETUP (EBUSY),
 * once. What is written is read back, to push it to the chip: reading must do no harm.
 */
struct udrv_intx_mask {
	__u32 size;
	__u32 bar;		/* memory */
	__u32 mask_offset;	/* in bytes, a multiple of 4 */
	__u32 mask_value;
	__u32 unmask_offset;
	__u32 unmask_value;
};

#define UDRV_IOC_INTX_MASK	_IO('u', 0x1a)

/*
 * UDRV_IOC_IRQ_OPEN, argument: the vector's index. Returns a new close-on-exec
 * file descriptor: the same file as /proc/irq/<n>/irq, without a path. One
 * opener a vector (EBUSY).
 *
 * The file: open installs the handler, close removes it. The handler masks the
 * interrupt (INTx: at the device; a vector: at the interrupt controller),
 * counts it and wakes the reader. It stays masked until the reader comes back:
 *   - read(): first publishes what the driver produced on the rings of a port
 *     that is attached to this vector, then returns the counts since the last
 *     read, or, if both are zero, unmasks and sleeps (O_NONBLOCK: EAGAIN).
 *     A buffer of 4 to 7 bytes gets a __u32, the sum of both; one of 8 or more
 *     a struct udrv_irq_events. Fewer than 4: EINVAL.
 *   - write(): only publishes; for a driver that is busy and will not wait. At
 *     least 4 bytes, whose value does not matter.
 *   - poll(): readable when a count is not zero; else unmasks.
 * Session over: read() fails with ENODEV, poll() says POLLERR | POLLHUP.
 *
 * So a device that never stops interrupting costs the processor one interrupt a
 * read. The exception is MSI without mask bits (UDRV_DEV_MSI_MASKABLE not set, as
 * with ICH9's AHCI): nothing but the chip can hold such messages back. While the
 * interrupt is masked, each one that the chip sends still interrupts the processor,
 * but runs no handler; all of them count as one when the reader comes back.
 */
#define UDRV_IOC_IRQ_OPEN	_IO('u', 0x13)

struct udrv_irq_events {
	__u32 interrupts;	/* from the device */
	__u32 doorbells;	/* from a ring or a state page: a simulated interrupt */
};

/* ---- DMA ----------------------------------------------------------------- */

/*
 * How many address bits the chip has (default 32). Only while nothing is
 * mapped (EBUSY); EIO if the platform has no memory the chip could reach.
 * Argument: the number of bits, 24 to 64.
 */
#define UDRV_IOC_DMA_BITS	_IO('u', 0x14)

/* Bus mastering on (1) or off (0). Reset the chip first, then switch it on. */
#define UDRV_IOC_BUS_MASTER	_IO('u', 0x15)

/*
 * How the chip is stopped when its driver is gone: one register write, added to
 * a list. At the session's end, once bus mastering is off and before any memory
 * is given back, the kernel carries them out in order, and after each waits for
 * the bits of `mask` to read 0 (from 100 us to a second; then the log says so).
 * For chips that cannot be reset alone: not all of them end what they have
 * begun when bus mastering goes off. ENOSPC: the list is full.
 */
struct udrv_stop_write {
	__u32 size;
	__u32 bar;		/* I/O ports or memory */
	__u32 offset;		/* in bytes; a multiple of len_bytes */
	__u32 len_bytes;	/* 1, 2 or 4; 8 in memory only. All of it inside the BAR */
	__u64 value;		/* no longer than len_bytes, nor is the mask */
	__u64 mask;		/* 0: wait for nothing */
};

#define UDRV_IOC_STOP_WRITE	_IO('u', 0x16)

/*
 * Coherent memory for descriptor rings: zeroed, contiguous for the device,
 * mapped with mmap(UDRV_MMAP_COHERENT(handle)). It lives until the session
 * ends. Charged to RLIMIT_MEMLOCK.
 */
struct udrv_coherent {
	__u32 size;
	__u32 handle;		/* out */
	__u64 len_bytes;	/* in: rounded up to whole pages; out */
	__u64 dma_addr;		/* out: for the device */
};

#define UDRV_IOC_COHERENT	_IO('u', 0x17)

struct udrv_dma_segment {
	__u64 dma_addr;
	__u64 len_bytes;
};

#define UDRV_DMA_TO_DEVICE	(1u << 0)	/* the device reads */
#define UDRV_DMA_FROM_DEVICE	(1u << 1)	/* the device writes */

/*
 * One region of the caller's memory to be pinned and translated for this device
 * (flags not zero), or one to be given back (flags zero, handle set).
 * Physically contiguous pages come back as one segment, so that memory of huge
 * pages gives few long ones. If the region needs more segments than there is
 * room, the call fails with ENOSPC and nr_segments says how many it needs.
 * EOPNOTSUPP: the device could reach the memory only through bounce buffers.
 * ENOENT: no such handle.
 */
struct udrv_dma_region {
	__u64 vaddr;		/* in: page aligned */
	__u64 len_bytes;	/* in: whole pages */
	__u64 segments;		/* in: pointer to struct udrv_dma_segment[] */
	__u32 nr_segments;	/* in: room, out: used */
	__u32 flags;		/* in: UDRV_DMA_*, or 0 to unmap */
	__u32 handle;		/* out when mapped, in to unmap */
	__u32 reserved;
};

/*
 * The exchange: many regions in one call, in order, typically the old ones to be
 * unmapped and then the next ones to be mapped. Returns how many were done; that
 * is fewer than nr_regions if one of them failed, and the call's own error if it
 * was the first. What was done stays done. ENOMEM also means RLIMIT_MEMLOCK.
 */
struct udrv_dma_exchange {
	__u32 size;
	__u32 nr_regions;	/* in: 1 to UDRV_MAX_DMA_BATCH */
	__u64 regions;		/* in/out: pointer to struct udrv_dma_region[nr_regions] */
};

#define UDRV_IOC_DMA_EXCHANGE	_IO('u', 0x18)

/* ---- Ports: what the driver serves --------------------------------------- */

#define UDRV_PORT_NET		1	/* udrv_net.ko, struct udrv_net_attach */
#define UDRV_PORT_BLK		2	/* udrv_blk.ko, struct udrv_blk_attach */

/*
 * Attach this session to the device's network interface or disks; they are
 * made at the first attach and outlive the session. EPROTONOSUPPORT: the module
 * of that kind is not loaded. EBUSY: attached already.
 */
struct udrv_attach {
	__u32 size;
	__u32 kind;		/* in: UDRV_PORT_* */
	__u64 arg;		/* in: pointer to the kind's structure, written back */
};

#define UDRV_IOC_ATTACH		_IO('u', 0x19)

/* ---- Rings --------------------------------------------------------------- */

/*
 * One ring type everywhere: single producer, single consumer, a power of two
 * of entries, free-running 32-bit indices (entry i stands at i & (depth - 1);
 * producer - consumer is the fill level). Each index is written by one side
 * only and has two cache lines of its own, since processors fetch in pairs.
 *
 * Ordering: the producer writes entries, then producer with release (A); the
 * consumer reads producer with acquire (pairs with A), reads entries, then
 * writes consumer with release (B); the producer reads consumer with acquire
 * (pairs with B) before it overwrites.
 */
struct udrv_ring_index {
	__u32 value;
	__u32 reserved[31];
};

struct udrv_ring_header {
	struct udrv_ring_index producer;
	struct udrv_ring_index consumer;
};

/*
 * Sleep and wake, both directions alike. The sleeper: sets `need_wakeup`, full
 * barrier (C), looks at its rings once more, sleeps only if there is nothing.
 * The waker: publishes, full barrier (D, pairs with C), looks at need_wakeup,
 * and wakes only if it is set. Awake again, the sleeper clears it. Without the
 * two full barriers both may miss the other's write and the ring sleeps for ever.
 */
#define UDRV_WAKE_WORK		(1u << 0)	/* new work: tx, submission */

struct udrv_need_wakeup {
	__u32 driver;		/* driver writes UDRV_WAKE_WORK or 0: ring my doorbell */
	__u32 reserved0[31];
	__u32 kernel;		/* kernel writes 0 or 1: read() or write() the IRQ file */
	__u32 reserved1[31];
};

#ifdef __cplusplus
#define UDRV_ASSERT_SIZE(type, size) \
	static_assert(sizeof(type) == (size), #type " changed its size")
#else
#define UDRV_ASSERT_SIZE(type, size) \
	_Static_assert(sizeof(type) == (size), #type " changed its size")
#endif

UDRV_ASSERT_SIZE(struct udrv_bar_info, 24);
UDRV_ASSERT_SIZE(struct udrv_info, 184);
UDRV_ASSERT_SIZE(struct udrv_config, 16);
UDRV_ASSERT_SIZE(struct udrv_irq_setup, 144);
UDRV_ASSERT_SIZE(struct udrv_irq_events, 8);
UDRV_ASSERT_SIZE(struct udrv_intx_mask, 24);
UDRV_ASSERT_SIZE(struct udrv_stop_write, 32);
UDRV_ASSERT_SIZE(struct udrv_coherent, 24);
UDRV_ASSERT_SIZE(struct udrv_dma_segment, 16);
UDRV_ASSERT_SIZE(struct udrv_dma_region, 40);
UDRV_ASSERT_SIZE(struct udrv_dma_exchange, 16);
UDRV_ASSERT_SIZE(struct udrv_attach, 16);
UDRV_ASSERT_SIZE(struct udrv_ring_header, 256);
UDRV_ASSERT_SIZE(struct udrv_need_wakeup, 256);

#endif /* UDRV_UDRV_H */
