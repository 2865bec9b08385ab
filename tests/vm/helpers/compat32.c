/* SPDX-License-Identifier: MIT */
/*
 * compat32 /dev/udrv/BDF: a 32-bit process as a driver, on QEMU's edu device with
 * udrv_net loaded. Without a C library: a machine that builds for 64 bits need not have
 * one for 32. Prints a line a check, and exits with the number of those that failed.
 */
#include <asm/unistd_32.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/mman.h>

#include <udrv/net.h>

static long sixth_argument;

static long sys(long nr, long a, long b, long c, long d, long e, long f)
{
	long result;

	/*
	 * The sixth argument is in ebp, which the compiler may need for itself; and what is
	 * on the stack is elsewhere after a push.
	 */
	sixth_argument = f;
	__asm__ volatile("pushl %%ebp\n\tmovl %7, %%ebp\n\tint $0x80\n\tpopl %%ebp"
			 : "=a"(result)
			 : "0"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e), "m"(sixth_argument)
			 : "memory", "cc");
	return result;
}

static long call(int fd, unsigned int command, void *structure)
{
	return sys(__NR_ioctl, fd, command, (long)structure, 0, 0, 0);
}

static void *map(int fd, __u64 offset)
{
	return (void *)sys(__NR_mmap2, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			   (long)(offset >> 12));
}

/* Not an error: those are the last page of the addresses. */
static int is_map(const void *at)
{
	return (unsigned long)at < -4095UL;
}

static void say(const char *text)
{
	long n = 0;

	while (text[n])
		n++;
	sys(__NR_write, 1, (long)text, n, 0, 0, 0);
}

static int failed;

static void check(const char *name, int good)
{
	say(good ? "ok 32 bits: " : "FAIL 32 bits: ");
	say(name);
	say("\n");
	failed += !good;
}

static struct udrv_info info;
static struct udrv_config config;
static struct udrv_irq_setup setup;
static struct udrv_coherent block;
static struct udrv_dma_segment segments[2];
static struct udrv_dma_region region;
static struct udrv_dma_exchange exchange;
static struct udrv_stop_write stop;
static struct udrv_attach attach;
static struct udrv_net_attach net;
static char page[4096] __attribute__((aligned(4096)));

static void check_calls(int fd)
{
	volatile __u32 *words;

	info.size = sizeof(info);
	info.abi_version = UDRV_ABI_VERSION;
	check("info", !call(fd, UDRV_IOC_INFO, &info));
	check("info: the device", info.vendor == 0x1234 && info.device == 0x11e8);
	check("info: BAR 0", info.bars[0].len_bytes == 1 << 20);
	config.size = sizeof(config);
	check("config", !call(fd, UDRV_IOC_CONFIG, &config) && config.value == 0x11e81234);
	words = map(fd, UDRV_MMAP_BAR(0));
	check("map BAR 0", is_map((void *)words) && (words[0] & 0xffff) == 0x00ed);

	stop.size = sizeof(stop);
	stop.offset = 4;
	stop.len_bytes = 4;
	check("stop write", !call(fd, UDRV_IOC_STOP_WRITE, &stop));

	setup.size = sizeof(setup);
	setup.mode = UDRV_IRQ_INTX;
	setup.nr_vectors = 1;
	check("irq setup", !call(fd, UDRV_IOC_IRQ_SETUP, &setup) && setup.nr_vectors == 1);
	check("irq open", call(fd, UDRV_IOC_IRQ_OPEN, 0) > 0);

	block.size = sizeof(block);
	block.len_bytes = 4096;
	check("coherent", !call(fd, UDRV_IOC_COHERENT, &block) && block.dma_addr);
	words = map(fd, UDRV_MMAP_COHERENT(block.handle));
	check("map coherent memory", is_map((void *)words) && !words[5]);

	region.vaddr = (unsigned long)page;
	region.len_bytes = sizeof(page);
	region.segments = (unsigned long)segments;
	region.nr_segments = 2;
	region.flags = UDRV_DMA_TO_DEVICE;
	page[0] = 1;
	exchange.size = sizeof(exchange);
	exchange.regions = (unsigned long)&region;
	exchange.nr_regions = 1;
	check("exchange: map", call(fd, UDRV_IOC_DMA_EXCHANGE, &exchange) == 1);
	check("exchange: a segment", region.nr_segments == 1 && segments[0].len_bytes == 4096);
	region.flags = 0;
	check("exchange: unmap", call(fd, UDRV_IOC_DMA_EXCHANGE, &exchange) == 1);
}

static void check_port(int fd)
{
	volatile struct udrv_net_desired *desired;
	char *rings;

	net.size = sizeof(net);
	net.nr_queues = 1;
	net.mac[0] = 2;
	net.tx_depth = UDRV_NET_MIN_DEPTH;
	net.rx_depth = UDRV_NET_MIN_DEPTH;
	net.rx_buf_bytes = UDRV_NET_MAX_BUF;
	net.tx_max_segments = 1;
	net.max_mtu = 1500;
	attach.size = sizeof(attach);
	attach.kind = UDRV_PORT_NET;
	attach.arg = (unsigned long)&net;
	check("attach", !call(fd, UDRV_IOC_ATTACH, &attach));
	check("attach: an interface", net.ifindex && net.name[0] && net.map_bytes);
	rings = map(fd, UDRV_MMAP_PORT);
	check("map the rings", is_map(rings));
	if (!is_map(rings))
		return;
	desired = (void *)(rings + net.desired);
	check("the desired state", desired->generation && desired->mtu == 1500);
}

static __attribute__((used)) int driver(const char *path)
{
	long fd = sys(__NR_open, (long)path, O_RDWR, 0, 0, 0, 0);

	check("open", fd >= 0);
	if (fd >= 0) {
		check_calls((int)fd);
		check_port((int)fd);
	}
	return failed;
}

__asm__(".globl _start\n"
	"_start:\n\t"
	"movl 8(%esp), %eax\n\t"	/* argv[1] */
	"andl $-16, %esp\n\t"
	"subl $12, %esp\n\t"
	"pushl %eax\n\t"
	"call driver\n\t"
	"movl %eax, %ebx\n\t"
	"movl $1, %eax\n\t"		/* exit */
	"int $0x80\n");
