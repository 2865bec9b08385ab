/* SPDX-License-Identifier: MIT */
/*
 * edu_c: a driver in C that needs the ABI's header and the protocol's, and no library.
 * QEMU's teaching device (-device edu) computes factorials and copies memory; this driver
 * has it do both, again and again, and checks the results, until SIGTERM.
 *
 *	make && UDRV_DRIVER_PATH=$PWD udrv run edu_c BDF --restart
 */
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <udrv/protocol.h>
#include <udrv/udrv.h>

/* Registers, in BAR 0 (QEMU, docs/specs/edu). */
#define EDU_IDENTIFICATION	0x00	/* 0xRRrr00ed */
#define EDU_FACTORIAL		0x08
#define EDU_STATUS		0x20
#define EDU_IRQ_STATUS		0x24
#define EDU_IRQ_ACK		0x64
#define EDU_DMA_SOURCE		0x80
#define EDU_DMA_TARGET		0x88
#define EDU_DMA_COUNT		0x90
#define EDU_DMA_COMMAND		0x98

#define EDU_STATUS_COMPUTING	0x01u
#define EDU_STATUS_IRQ		0x80u
#define EDU_DMA_START		0x1u
#define EDU_DMA_FROM_DEVICE	0x2u
#define EDU_DMA_IRQ		0x4u
#define EDU_IRQ_FACTORIAL	0x001u
#define EDU_IRQ_DMA		0x100u

#define EDU_BUFFER		0x40000u	/* its own memory, as it names it */
#define EDU_ADDRESS_BITS	28
#define HALF			2048u

static volatile sig_atomic_t stop, report;
static volatile unsigned char *registers;
static int irq = -1;

static void on_stop(int number)
{
	(void)number;
	stop = 1;
}

static void on_report(int number)
{
	(void)number;
	report = 1;
}

static void handle(int number, void (*handler)(int))
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = handler;
	sigaction(number, &action, NULL);
}

__attribute__((noreturn, format(printf, 1, 2)))
static void fail(const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "udrv-edu_c: ");
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n");
	exit(1);
}

static uint32_t read_register(unsigned int offset)
{
	return *(volatile uint32_t *)(registers + offset);
}

static void write_register(unsigned int offset, uint32_t value)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* memory first, for the device */
	*(volatile uint32_t *)(registers + offset) = value;
}

/*
 * A predecessor that was killed may have begun something, and edu has no reset. The kernel
 * switched bus mastering off: until we switch it on again no transfer reaches memory.
 */
static void wait_until_quiet(void)
{
	const struct timespec pause = {0, 1000000};
	int n;

	for (n = 0; n < 1000; n++) {
		if (!(read_register(EDU_DMA_COMMAND) & EDU_DMA_START) &&
		    !(read_register(EDU_STATUS) & EDU_STATUS_COMPUTING)) {
			write_register(EDU_IRQ_ACK, read_register(EDU_IRQ_STATUS));
			return;
		}
		nanosleep(&pause, NULL);
	}
	fail("wait for what an earlier driver began: busy for a second");
}

/* The IRQ file masks the interrupt when it fires; the next poll() unmasks it. */
static void wait_for(uint32_t cause)
{
	struct udrv_irq_events events;
	struct pollfd ready;
	uint32_t causes;
	int waits, got;

	for (waits = 0; waits < 10; waits++) {
		ready.fd = irq;
		ready.events = POLLIN;
		got = poll(&ready, 1, 1000);
		if (got > 0 && read(irq, &events, sizeof(events)) < 0)
			fail("read the IRQ file: %s", strerror(errno));
		causes = read_register(EDU_IRQ_STATUS);
		write_register(EDU_IRQ_ACK, causes);
		if (got > 0 && (causes & cause))
			return;
		if (got == 0)
			fail("wait for interrupt %#x: none in a second, status %#x", cause, causes);
	}
	fail("wait for interrupt %#x: many came, but not that one", cause);
}

static void transfer(uint64_t source, uint64_t target, uint32_t direction)
{
	write_register(EDU_DMA_SOURCE, (uint32_t)source);	/* fits in 28 bits */
	write_register(EDU_DMA_TARGET, (uint32_t)target);
	write_register(EDU_DMA_COUNT, HALF);
	write_register(EDU_DMA_COMMAND, EDU_DMA_START | EDU_DMA_IRQ | direction);
	wait_for(EDU_IRQ_DMA);
}

static void check_factorial(uint32_t n)
{
	uint32_t wanted = 1, got, i;

	for (i = 2; i <= n; i++)
		wanted *= i;
	write_register(EDU_STATUS, EDU_STATUS_IRQ);
	write_register(EDU_FACTORIAL, n);
	wait_for(EDU_IRQ_FACTORIAL);
	got = read_register(EDU_FACTORIAL);
	if (got != wanted)
		fail("compute %u!: got %u, wanted %u", n, got, wanted);
}

/* The first half of the memory to the device, and back into the second. */
static void check_dma(unsigned char *memory, uint64_t dma_addr, unsigned int round)
{
	unsigned int i;

	for (i = 0; i < HALF; i++)
		memory[i] = (unsigned char)(i * 5 + round);
	memset(memory + HALF, 0, HALF);
	transfer(dma_addr, EDU_BUFFER, 0);
	transfer(EDU_BUFFER, dma_addr + HALF, EDU_DMA_FROM_DEVICE);
	if (memcmp(memory, memory + HALF, HALF) != 0)
		fail("copy %u bytes there and back: they differ", HALF);
}

static void call(int device, unsigned long request, unsigned long argument, const char *what)
{
	if (ioctl(device, request, argument) < 0)
		fail("%s: %s", what, strerror(errno));
}

int main(int argc, char **argv)
{
	/* Each structure begins with its size: what a later kernel adds is 0 for us. */
	struct udrv_coherent block = {.size = sizeof(block), .len_bytes = 4096};
	struct udrv_irq_setup setup = {
		.size = sizeof(setup),
		.mode = UDRV_IRQ_MSI,
		.nr_vectors = 1,
	};
	struct udrv_info info = {.size = sizeof(info), .abi_version = UDRV_ABI_VERSION};
	struct udrv_supervised self;
	unsigned char *memory;
	unsigned int round;
	char path[64];
	int device;

	/* Options of `udrv run` follow the address; none means anything to edu. */
	if (argc < 2 || argv[1][0] == '-') {
		fprintf(stderr, "usage: udrv-edu_c BDF [OPTION]...\n");
		return 2;
	}
	if (udrv_supervised_begin(&self) < 0)
		fail("take part in supervision: %s", strerror(errno));
	handle(SIGTERM, on_stop);
	handle(SIGINT, on_stop);
	handle(SIGUSR1, on_report);
	if (!udrv_wait_for_turn(&self))
		return 0;

	snprintf(path, sizeof(path), "/dev/udrv/%.20s", argv[1]);
	device = open(path, O_RDWR | O_CLOEXEC);
	if (device < 0)
		fail("open %s: %s; `udrv bind` it first", path, strerror(errno));
	if (ioctl(device, UDRV_IOC_INFO, &info) < 0 && errno == EPROTO)
		fail("ask for the device: its ABI is %u, ours is %u", info.abi_version,
		     UDRV_ABI_VERSION);
	call(device, UDRV_IOC_INFO, (unsigned long)&info, "ask for the device");
	registers = mmap(NULL, info.bars[0].len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, device,
			 UDRV_MMAP_BAR(0));
	if (registers == MAP_FAILED)
		fail("map BAR 0: %s", strerror(errno));
	if ((read_register(EDU_IDENTIFICATION) & 0xffff) != 0x00ed)
		fail("look at the device: it is no edu");

	wait_until_quiet();	/* first of all; bus mastering goes on at the end */
	call(device, UDRV_IOC_DMA_BITS, EDU_ADDRESS_BITS, "set the address bits");
	call(device, UDRV_IOC_COHERENT, (unsigned long)&block, "take memory");
	memory = mmap(NULL, block.len_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, device,
		      UDRV_MMAP_COHERENT(block.handle));
	if (memory == MAP_FAILED)
		fail("map the memory: %s", strerror(errno));
	if (!info.nr_msi)
		setup.mode = UDRV_IRQ_INTX;
	call(device, UDRV_IOC_IRQ_SETUP, (unsigned long)&setup, "choose the interrupt");
	irq = ioctl(device, UDRV_IOC_IRQ_OPEN, 0);
	if (irq < 0)
		fail("open the interrupt: %s", strerror(errno));
	call(device, UDRV_IOC_BUS_MASTER, 1, "switch bus mastering on");

	printf("edu_c at %s ready, pid %d\n", argv[1], (int)getpid());
	fflush(stdout);
	udrv_say_serving(&self);
	for (round = 0; !stop; round++) {
		check_factorial(round % 13);
		check_dma(memory, block.dma_addr, round);
		udrv_beat(&self);
		if (report) {
			report = 0;
			printf("edu_c: %u rounds\n", round);
			fflush(stdout);
		}
	}
	call(device, UDRV_IOC_BUS_MASTER, 0, "switch bus mastering off");
	return 0;
}
