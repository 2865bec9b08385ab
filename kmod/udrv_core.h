/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * udrv_core.h - inside the core module, and what it offers to the modules that
 * put a port (a netdev, disks) on a device.
 *
 * Lives, from long to short:
 *   udrv_device   a PCI function bound to udrv; owns at most one port. Counted:
 *                 it goes with the last session that knows it
 *   udrv_session  one open of /dev/udrv/<bdf>; ends once, in a worker, and
 *                 touches nothing of its device after that. Counted: files of
 *                 interrupts may outlive it
 *   udrv_irq, udrv_region: of the session
 *
 * Locks, outer first:
 *   device_lock: bind and unbind; no session is left when the port goes
 *   s->lock -> rtnl            never held across user memory access
 *   s->lock, mmap_lock -> s->map_lock   page faults against the session's end,
 *                              which zaps the maps after it let go
 *   udev->lock                 which session; innermost of those that sleep
 *   irq->remove_lock
 *   irq->lock                  hard interrupt
 */
#ifndef UDRV_CORE_H
#define UDRV_CORE_H

#include <linux/anon_inodes.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/interrupt.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/iommu.h>
#include <linux/iopoll.h>
#include <linux/kref.h>
#include <linux/refcount.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/msi.h>
#include <linux/mutex.h>
#include <linux/nospec.h>
#include <linux/pci.h>
#include <linux/pid.h>
#include <linux/poll.h>
#include <linux/proc_fs.h>
#include <linux/rcupdate.h>
#include <linux/rwsem.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <udrv/udrv.h>
#include "udrv_compat.h"

struct udrv_port;

/* One interrupt vector of a session. */
struct udrv_irq {
	struct udrv_session *session;
	unsigned int line;		/* Linux interrupt number */
	bool intx;			/* masked at the device, so may be shared */
	unsigned long open;		/* bit 0: somebody holds the file */
	struct proc_dir_entry *proc;
	bool has_line;			/* in udrv_proc_lines, see irq.c */
	struct mutex remove_lock;	/* close of the file against the session's end */
	spinlock_t lock;		/* masked, installed, while_masked; INTx: PCI_COMMAND */
	bool masked;
	u32 while_masked;		/* interrupts on its line since the reader came */
	bool installed;
	atomic_t interrupts;
	atomic_t doorbells;
	wait_queue_head_t wq;
	struct udrv_port __rcu *port;	/* published to before a wait */
};

/* One of the writes that stop the chip at the session's end. */
struct udrv_stop {
	struct udrv_stop_write write;
	void __iomem *at;
};

/* How a chip without the INTx-disable bit is kept from asserting its line. */
struct udrv_intx {
	void __iomem *mask;		/* NULL: not said */
	void __iomem *unmask;
	u32 mask_value;
	u32 unmask_value;
};

struct udrv_session {
	struct udrv_device *udev;	/* a reference; to look at until the end only */
	refcount_t ref;
	struct mmu_notifier mn;		/* the owner's memory: charged, and our end is its end */
	struct pid *owner;
	pid_t pid;			/* as the owner sees it */
	char comm[TASK_COMM_LEN];
	struct address_space *mapping;	/* of the device node, to revoke maps */
	struct mutex lock;		/* irqs, regions, port; dead, written with map_lock too */
	struct rw_semaphore map_lock;
	bool dead;
	struct udrv_intx intx;		/* before there are irqs */
	unsigned int nr_irqs;
	struct udrv_irq irqs[UDRV_MAX_IRQS];
	struct xarray regions;		/* struct udrv_region, see dma.c */
	atomic_t nr_regions;
	atomic_long_t pinned_bytes;
	struct udrv_port *port;
	unsigned int nr_stops;
	struct udrv_stop stops[UDRV_MAX_STOP_WRITES];
	unsigned long flags;
#define UDRV_SESSION_ENDING	0	/* the worker has it, or had it */
#define UDRV_SESSION_VIOLATED	1
	struct completion ended;
	struct work_struct end_work;
};

struct udrv_device {
	struct kref ref;
	struct pci_dev *pdev;		/* a reference */
	struct miscdevice misc;
	bool removed;
	bool closed;			/* asleep, in a reset, going down: no session begins */
	unsigned long closed_at;	/* jiffies: when that began */
	unsigned long reopened;		/* and when it was last over */
	struct pci_saved_state *config;	/* when it was bound */
	bool intx_maskable;
	unsigned int bar_maps;		/* by number: BARs that can be mapped, see mmap.c */
	struct list_head margins;	/* struct udrv_margin */
	bool was_untrusted;		/* before it was bound: so it is left */
	bool lock_lent;			/* device lock: see udrv_device_end_session() */
	struct task_struct *resetter;	/* who resets it at a session's end */
	bool reset_owed;		/* before it goes back to the kernel; by the sessions' ends */
	struct list_head list;		/* see confine.c */
	struct mutex lock;		/* session, removed, closed */
	struct udrv_session *session;
	struct udrv_port *port;		/* made under s->lock, removed when no session is left */
	atomic_long_t interrupts;
	atomic_long_t violations;
};

/* ---- Ports --------------------------------------------------------------- */

struct udrv_port_type {
	struct module *owner;
	u32 arg_bytes;			/* of its attach structure */
	u32 arg_least;			/* of these, in the first version of ABI 4 */
	/*
	 * Attach the session; `port` is the one that the device has already, or
	 * NULL: then make one. `arg` is a kernel copy, written back on success.
	 * Called with s->lock held.
	 */
	struct udrv_port *(*attach)(struct udrv_session *s, struct udrv_port *port, void *arg);
	/*
	 * Reader of an IRQ file is about to wait: of one whose vector the port named.
	 * RCU read side, bottom halves on.
	 */
	void (*publish)(struct udrv_port *port, struct udrv_irq *irq);
	/*
	 * The session is over: take everything back. `quiet`: the device does no
	 * DMA any more; if not, keep for ever what it might write.
	 */
	void (*detach)(struct udrv_port *port, bool quiet);
	/*
	 * Power may go: what the device keeps in a volatile cache goes to the medium. The
	 * session serves; not for long, and not beyond its end. With the device lock held;
	 * may sleep. May be NULL.
	 */
	void (*settle)(struct udrv_port *port, struct udrv_session *s);
	/* The device is going, or the module. Not attached. Frees the port. */
	void (*remove)(struct udrv_port *port);
};

struct udrv_port {
	struct udrv_port_type *type;
	struct udrv_device *udev;
	unsigned long vectors;		/* by number: whose files publish, while attached */
	void *shm;			/* vmalloc_user(): the rings, while attached */
};

#define UDRV_NR_PORT_KINDS	(UDRV_PORT_BLK + 1)

/* The module of a kind registers its type, and takes it out with NULL. */
void udrv_port_type_set(u32 kind, struct udrv_port_type *type);

/* For work that a session's end may wait for. */
extern struct workqueue_struct *udrv_wq;

/*
 * For a port that has waited `window` jiffies for the next driver: how many more it
 * should, or 0. No driver can come while the device sleeps, nor is that its fault.
 */
unsigned long udrv_wait_longer(struct udrv_device *udev, unsigned long window);

/* A simulated interrupt. Any context. */
void udrv_irq_doorbell(struct udrv_irq *irq);

/* The vector that a port names, or NULL if the session has no such vector. */
static inline struct udrv_irq *udrv_session_irq(struct udrv_session *s, u32 vector)
{
	if (vector >= s->nr_irqs)
		return NULL;
	return &s->irqs[array_index_nospec(vector, s->nr_irqs)];
}

/* The driver broke the protocol: count, log once, end the session. Any context. */
void udrv_violation(struct udrv_session *s, const char *what);

/* It did: touch no ring of it any more. */
static inline bool udrv_violated(const struct udrv_session *s)
{
	return test_bit(UDRV_SESSION_VIOLATED, &s->flags);
}

/* ---- Inside the core ------------------------------------------------------ */

extern const struct file_operations udrv_session_fops;

/* device.c */
extern struct pci_driver udrv_driver;
struct udrv_device *udrv_device_get(struct udrv_device *udev);
void udrv_device_put(struct udrv_device *udev);

/* confine.c */
bool udrv_confined(struct pci_dev *pdev);	/* by an IOMMU */
int udrv_may_drive(struct pci_dev *pdev);
int udrv_may_open(struct pci_dev *pdev);
void udrv_devices_add(struct udrv_device *udev);
void udrv_devices_remove(struct udrv_device *udev);
int udrv_confine_init(void);
void udrv_confine_exit(void);

/* power.c */
extern const struct dev_pm_ops udrv_pm_ops;
extern const struct pci_error_handlers udrv_error_handlers;
void udrv_shutdown(struct pci_dev *pdev);
void udrv_set_freezable(struct udrv_session *s);

/* calls.c */
long udrv_copy_struct(void *to, u32 bytes, u32 least, const void __user *from);
long udrv_ioctl(struct file *file, unsigned int cmd, unsigned long value);

/* session.c */
void udrv_device_end_session(struct udrv_device *udev, const char *cause);
void udrv_device_pay_reset(struct udrv_device *udev);
struct udrv_session *udrv_device_session(struct udrv_device *udev);
void udrv_session_end(struct udrv_session *s, const char *cause);
void udrv_session_put(struct udrv_session *s);

/*
 * Calls: `arg` is the kernel's copy of the call's structure, or points to the
 * value of a call that takes one. In calls.c's table it says which of them
 * run under s->lock in a session that is not dead.
 */
int udrv_irq_setup(struct udrv_session *s, void *arg);		/* irq.c */
int udrv_intx_mask_by(struct udrv_session *s, void *arg);
int udrv_irq_open_fd(struct udrv_session *s, void *arg);
int udrv_dma_bits(struct udrv_session *s, void *arg);		/* dma.c */
int udrv_dma_coherent(struct udrv_session *s, void *arg);
int udrv_dma_exchange(struct udrv_session *s, void *arg);
int udrv_attach(struct udrv_session *s, void *arg);		/* port.c */

void udrv_irq_teardown(struct udrv_session *s);
void udrv_bus_master_set(struct udrv_session *s, bool on);	/* irq.c */
void udrv_dma_release_all(struct udrv_session *s, bool quiet);
unsigned long udrv_dma_pages(struct udrv_session *s, unsigned long handle, unsigned long *pfn);
void udrv_bars_hold(struct udrv_device *udev);			/* mmap.c */
void udrv_bars_release(struct udrv_device *udev);
int udrv_mmap(struct file *file, struct vm_area_struct *vma);

#endif /* UDRV_CORE_H */
