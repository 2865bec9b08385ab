// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts as files: /proc/irq/<n>/irq, and the same file from
 * UDRV_IOC_IRQ_OPEN. See udrv/udrv.h for what read, write and poll do.
 *
 * The handler masks, counts and wakes. The interrupt stays masked until the
 * reader comes back, so that a storm costs one handler a read at most. INTx is
 * masked in the device's own command register, so that a neighbour on a shared
 * line is never held up; a vector of its own at the interrupt controller. A chip that
 * knows no such mask is masked by a write that its driver named (struct udrv_intx).
 */
#include "udrv_core.h"
#include "udrv_trace.h"

/* Two devices on one line want /proc/irq/<n>/irq: the first has it. */
static DEFINE_XARRAY(udrv_proc_lines);

/* ---- INTx: masked at the device ---------------------------------------------- */

/* The line is level triggered: it has to be low before the handler returns. */
static void udrv_intx_store(void __iomem *at, u32 value)
{
	iowrite32(value, at);
	ioread32(at);
}

/* False: it is not our device that asserts the line. Of a chip's own mask, nobody knows. */
static bool udrv_intx_check_and_mask(struct udrv_session *s)
{
	if (!s->intx.mask)
		return pci_check_and_mask_intx(s->udev->pdev);
	udrv_intx_store(s->intx.mask, s->intx.mask_value);
	return true;
}

/* False: it asserts the line already, and stays masked. */
static bool udrv_intx_check_and_unmask(struct udrv_session *s)
{
	if (!s->intx.mask)
		return pci_check_and_unmask_intx(s->udev->pdev);
	iowrite32(s->intx.unmask_value, s->intx.unmask);	/* the handler comes, if so */
	return true;
}

static void udrv_intx_mask(struct udrv_session *s)
{
	if (!s->intx.mask)
		pci_intx(s->udev->pdev, 0);
	else
		udrv_intx_store(s->intx.mask, s->intx.mask_value);
}

static void udrv_set_master(struct pci_dev *pdev, bool on)
{
	if (on)
		pci_set_master(pdev);
	else
		pci_clear_master(pdev);
}

/*
 * Bus mastering is a bit beside the mask of INTx, and the core reads, changes and writes
 * both: without the lock a mask that the handler sets meanwhile is lost, and the line
 * stays asserted. With s->lock held, so that no interrupt is set up meanwhile.
 */
void udrv_bus_master_set(struct udrv_session *s, bool on)
{
	struct udrv_irq *irq = &s->irqs[0];	/* INTx has no other */

	if (!s->nr_irqs || !irq->intx) {
		udrv_set_master(s->udev->pdev, on);
		return;
	}
	spin_lock_irq(&irq->lock);
	udrv_set_master(s->udev->pdev, on);
	spin_unlock_irq(&irq->lock);
}

/* With s->lock held. */
int udrv_intx_mask_by(struct udrv_session *s, void *argp)
{
	struct pci_dev *pdev = s->udev->pdev;
	struct udrv_intx_mask *arg = argp;
	resource_size_t len;
	u32 last;

	if (arg->bar >= UDRV_NR_BARS)
		return -EINVAL;
	arg->bar = array_index_nospec(arg->bar, UDRV_NR_BARS);
	len = pci_resource_len(pdev, arg->bar);
	last = max(arg->mask_offset, arg->unmask_offset);
	if (!(pci_resource_flags(pdev, arg->bar) & IORESOURCE_MEM) || len < sizeof(u32) ||
	    last > len - sizeof(u32) || !IS_ALIGNED(arg->mask_offset | arg->unmask_offset, 4))
		return -EINVAL;
	if (s->nr_irqs || s->intx.mask)
		return -EBUSY;
	if (s->udev->intx_maskable)
		return 0;	/* the bit is better: it tells whose an interrupt is */
	s->intx.unmask = pci_iomap_range(pdev, arg->bar, arg->unmask_offset, sizeof(u32));
	if (!s->intx.unmask)
		return -ENOMEM;
	s->intx.unmask_value = arg->unmask_value;
	s->intx.mask_value = arg->mask_value;
	s->intx.mask = pci_iomap_range(pdev, arg->bar, arg->mask_offset, sizeof(u32));
	if (s->intx.mask)
		return 0;
	pci_iounmap(pdev, s->intx.unmask);
	return -ENOMEM;
}

/* Once no handler can come. */
static void udrv_intx_unmap(struct udrv_session *s)
{
	if (!s->intx.mask)
		return;
	pci_iounmap(s->udev->pdev, s->intx.mask);
	pci_iounmap(s->udev->pdev, s->intx.unmask);
	s->intx.mask = NULL;
}

/*
 * Well below the 99,900 of 100,000 after which the kernel takes a shared line out of use:
 * a driver that unmasks its chip again and again must not do that to its neighbours.
 */
#define UDRV_MOST_WHILE_MASKED	50000

/* ---- The handler ---------------------------------------------------------------- */

static irqreturn_t udrv_irq_handler(int line, void *data)
{
	struct udrv_irq *irq = data;
	struct udrv_device *udev = irq->session->udev;
	unsigned long flags;

	spin_lock_irqsave(&irq->lock, flags);
	if (irq->masked) {
		/*
		 * On a shared line that is a neighbour's interrupt; or the driver let its
		 * chip assert it meanwhile, where the kernel masks by the chip's register.
		 */
		if (irq->intx && irq->session->intx.mask) {
			udrv_intx_mask(irq->session);
			if (++irq->while_masked == UDRV_MOST_WHILE_MASKED)
				udrv_violation(irq->session, "interrupts while they are masked");
		}
		spin_unlock_irqrestore(&irq->lock, flags);
		return IRQ_NONE;
	}
	if (irq->intx && !udrv_intx_check_and_mask(irq->session)) {
		spin_unlock_irqrestore(&irq->lock, flags);
		return IRQ_NONE;
	}
	if (!irq->intx)
		disable_irq_nosync(line);
	irq->masked = true;
	spin_unlock_irqrestore(&irq->lock, flags);

	atomic_inc(&irq->interrupts);
	atomic_long_inc(&udev->interrupts);
	trace_udrv_interrupt(irq);
	wake_up(&irq->wq);
	return IRQ_HANDLED;
}

static void udrv_irq_unmask(struct udrv_irq *irq)
{
	struct udrv_device *udev = irq->session->udev;
	unsigned long flags;

	spin_lock_irqsave(&irq->lock, flags);
	if (irq->installed && irq->masked) {
		irq->while_masked = 0;
		irq->masked = irq->intx && !udrv_intx_check_and_unmask(irq->session);
		if (irq->masked) {	/* asserted again already: count it, save the interrupt */
			atomic_inc(&irq->interrupts);
			atomic_long_inc(&udev->interrupts);
			trace_udrv_interrupt(irq);
		} else if (!irq->intx) {
			enable_irq(irq->line);
		}
	}
	spin_unlock_irqrestore(&irq->lock, flags);
}

void udrv_irq_doorbell(struct udrv_irq *irq)
{
	trace_udrv_doorbell(irq);
	/* Not the first since the last read: the reader is awake, or will look. */
	if (atomic_inc_return(&irq->doorbells) == 1)
		wake_up(&irq->wq);
}
EXPORT_SYMBOL_GPL(udrv_irq_doorbell);

/* INTx starts masked, and is unmasked by the first read or poll. */
static int udrv_irq_install(struct udrv_irq *irq)
{
	int ret;

	irq->masked = irq->intx;
	if (irq->intx)
		udrv_intx_mask(irq->session);
	irq->installed = true;
	ret = request_irq(irq->line, udrv_irq_handler, irq->intx ? IRQF_SHARED : 0,
			  irq->session->udev->misc.name, irq);
	irq->installed = !ret;
	return ret;
}

/* Whoever comes second (close of the file, end of the session) waits for the first. */
static void udrv_irq_remove(struct udrv_irq *irq)
{
	bool installed;

	mutex_lock(&irq->remove_lock);
	spin_lock_irq(&irq->lock);
	installed = irq->installed;
	irq->installed = false;
	if (installed && irq->intx)
		udrv_intx_mask(irq->session);
	spin_unlock_irq(&irq->lock);
	if (installed)
		free_irq(irq->line, irq);
	mutex_unlock(&irq->remove_lock);
}

/* ---- The file ------------------------------------------------------------- */

static bool udrv_irq_pending(struct udrv_irq *irq)
{
	return atomic_read(&irq->interrupts) || atomic_read(&irq->doorbells) ||
	       READ_ONCE(irq->session->dead);
}

/* Hand what the driver produced to the kernel side: packets up, requests done. */
static void udrv_irq_publish(struct udrv_irq *irq)
{
	struct udrv_port *port;

	rcu_read_lock();
	port = rcu_dereference(irq->port);
	if (port) {
		trace_udrv_publish(irq);
		port->type->publish(port, irq);
	}
	rcu_read_unlock();
}

static ssize_t udrv_irq_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct udrv_irq *irq = iocb->ki_filp->private_data;
	bool nowait = (iocb->ki_filp->f_flags & O_NONBLOCK) || (iocb->ki_flags & IOCB_NOWAIT);
	size_t len = iov_iter_count(to) < sizeof(struct udrv_irq_events) ?
		     sizeof(u32) : sizeof(struct udrv_irq_events);
	struct udrv_irq_events ev;

	if (iov_iter_count(to) < len)
		return -EINVAL;
	udrv_set_freezable(irq->session);
	udrv_irq_publish(irq);
	if (!udrv_irq_pending(irq))
		udrv_irq_unmask(irq);
	if (nowait) {
		if (!udrv_irq_pending(irq))
			return -EAGAIN;
	} else if (wait_event_interruptible(irq->wq, udrv_irq_pending(irq))) {
		return -ERESTARTSYS;
	}
	if (READ_ONCE(irq->session->dead)) {
		udrv_set_freezable(irq->session);
		return -ENODEV;
	}
	ev.interrupts = atomic_xchg(&irq->interrupts, 0);
	ev.doorbells = atomic_xchg(&irq->doorbells, 0);
	trace_udrv_wakeup(irq, &ev);
	if (len < sizeof(ev))
		ev.interrupts += ev.doorbells;
	return copy_to_iter(&ev, len, to) == len ? len : -EFAULT;
}

static ssize_t udrv_irq_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	struct udrv_irq *irq = file->private_data;

	if (len < sizeof(u32))
		return -EINVAL;
	if (READ_ONCE(irq->session->dead))
		return -ENODEV;
	udrv_irq_publish(irq);
	return len;
}

static __poll_t udrv_irq_poll(struct file *file, poll_table *wait)
{
	struct udrv_irq *irq = file->private_data;

	poll_wait(file, &irq->wq, wait);
	udrv_set_freezable(irq->session);
	if (!udrv_irq_pending(irq))
		udrv_irq_unmask(irq);
	if (READ_ONCE(irq->session->dead))
		return EPOLLERR | EPOLLHUP;
	return udrv_irq_pending(irq) ? EPOLLIN | EPOLLRDNORM : 0;
}

/*
 * One opener a vector. On success the file holds the session. Locked, so that a
 * handler is never installed behind the back of a session that is ending.
 */
static int udrv_irq_claim(struct udrv_irq *irq, struct file *file)
{
	int ret;

	if (test_and_set_bit(0, &irq->open))
		return -EBUSY;
	ret = udrv_irq_install(irq);
	if (ret) {
		clear_bit(0, &irq->open);
		return ret;
	}
	refcount_inc(&irq->session->ref);
	file->private_data = irq;
	file->f_mode |= FMODE_NOWAIT;	/* io_uring: try, then poll, no worker thread */
	file->f_mode &= ~FMODE_ATOMIC_POS;	/* a reader that sleeps does not keep writers out */
	return 0;
}

static int udrv_irq_release(struct inode *inode, struct file *file)
{
	struct udrv_irq *irq = file->private_data;

	if (irq) {
		udrv_irq_remove(irq);
		clear_bit_unlock(0, &irq->open);
		udrv_session_put(irq->session);
	}
	return 0;
}

static const struct file_operations udrv_irq_fops = {
	.owner = THIS_MODULE,
	.release = udrv_irq_release,
	.read_iter = udrv_irq_read_iter,
	.write = udrv_irq_write,
	.poll = udrv_irq_poll,
};

/*
 * The session cannot be freed here: udrv_irq_teardown() removes the entry, and
 * waits for opens under way, before the session's own reference goes. From here on
 * it is the same file as the other: procfs would close it as the entry goes, while
 * somebody may still poll it. (Who has the session open holds the module.)
 */
static int udrv_irq_proc_open(struct inode *inode, struct file *file)
{
	const struct file_operations *fops = &udrv_irq_fops;

	replace_fops(file, fops_get(fops));
	return udrv_irq_claim(pde_data(inode), file);
}

static const struct proc_ops udrv_irq_proc_ops = { .proc_open = udrv_irq_proc_open };

/* With s->lock held. */
int udrv_irq_open_fd(struct udrv_session *s, void *arg)
{
	unsigned long *vector = arg;
	struct udrv_irq *irq;
	struct file *file;
	int fd;

	if (*vector > U32_MAX)
		return -EINVAL;
	irq = udrv_session_irq(s, *vector);
	if (!irq)
		return -EINVAL;
	file = anon_inode_getfile("[udrv-irq]", &udrv_irq_fops, NULL, O_RDWR);
	if (IS_ERR(file))
		return PTR_ERR(file);
	fd = udrv_irq_claim(irq, file);
	if (!fd)
		fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		fput(file);
	else
		fd_install(fd, file);
	return fd;
}

/* ---- Set-up and end ------------------------------------------------------- */

/*
 * /proc/irq/<n> exists once the line was requested for the first time, so do
 * that. No file, no failure: the driver can still get it from the session, or is
 * told there why not.
 */
static void udrv_irq_init(struct udrv_session *s, unsigned int line, bool intx)
{
	struct udrv_irq *irq = &s->irqs[s->nr_irqs];
	char path[64];

	irq->session = s;
	irq->line = line;
	irq->intx = intx;
	mutex_init(&irq->remove_lock);
	spin_lock_init(&irq->lock);
	init_waitqueue_head(&irq->wq);
	s->nr_irqs++;
	if (udrv_irq_install(irq))
		return;
	udrv_irq_remove(irq);
	irq->has_line = !xa_insert(&udrv_proc_lines, line, irq, GFP_KERNEL);
	snprintf(path, sizeof(path), irq->has_line ? "irq/%u/irq" : "irq/%u/irq-%s", line,
		 pci_name(s->udev->pdev));
	irq->proc = proc_create_data(path, 0600, NULL, &udrv_irq_proc_ops, irq);
}

/* With s->lock held. */
int udrv_irq_setup(struct udrv_session *s, void *argp)
{
	struct pci_dev *pdev = s->udev->pdev;
	struct udrv_irq_setup *arg = argp;
	int n = 0, i;

	if (arg->mode > UDRV_IRQ_MSIX || !arg->nr_vectors || arg->nr_vectors > UDRV_MAX_IRQS ||
	    arg->reserved)
		return -EINVAL;
	if (s->nr_irqs)
		return -EBUSY;
	if (arg->mode != UDRV_IRQ_INTX)
		n = pci_alloc_irq_vectors(pdev, 1, arg->nr_vectors,
					  arg->mode == UDRV_IRQ_MSI ? PCI_IRQ_MSI : PCI_IRQ_MSIX);
	for (i = 0; i < n; i++)
		udrv_irq_init(s, pci_irq_vector(pdev, i), false);
	if (arg->mode == UDRV_IRQ_INTX && (pdev->class >> 8) == PCI_CLASS_STORAGE_IDE &&
	    !(pdev->class & 5)) {		/* compatibility mode: the ISA lines */
		udrv_irq_init(s, 14, false);
		udrv_irq_init(s, 15, false);
	} else if (arg->mode == UDRV_IRQ_INTX && pdev->irq && pdev->pin) {
		udrv_irq_init(s, pdev->irq, s->udev->intx_maskable || s->intx.mask);
	}
	for (i = 0; i < UDRV_MAX_IRQS; i++)
		arg->line[i] = s->irqs[i].line;
	arg->nr_vectors = s->nr_irqs;
	if (n < 0)
		return n;
	return s->nr_irqs ? 0 : -ENOSPC;
}

/*
 * The session is dead: readers go home, no interrupt comes any more, nothing is
 * published. The kernel warns if an interrupt's directory goes while our file is
 * in it, so that goes first.
 */
void udrv_irq_teardown(struct udrv_session *s)
{
	struct udrv_irq *irq;

	for (irq = s->irqs; irq < s->irqs + s->nr_irqs; irq++) {
		RCU_INIT_POINTER(irq->port, NULL);
		wake_up_poll(&irq->wq, EPOLLERR | EPOLLHUP | EPOLLIN);
		proc_remove(irq->proc);		/* no open from here on */
		if (irq->has_line)
			xa_erase(&udrv_proc_lines, irq->line);
		udrv_irq_remove(irq);
	}
	udrv_intx_unmap(s);
	pci_free_irq_vectors(s->udev->pdev);
	synchronize_rcu_expedited();	/* as all waits here: it is a part of each outage */
}
