// SPDX-License-Identifier: GPL-2.0-only
/*
 * One open of /dev/udrv/<bdf>: the session, its calls, and above all its end.
 */
#include "udrv_core.h"

#define CREATE_TRACE_POINTS
#include "udrv_trace.h"

#define UDRV_PORT_RIGHTS_MS	500	/* to give them back */
#define UDRV_PORT_RIGHTS_TRIES	100

#define UDRV_RESET_WAIT_MS	20
#define UDRV_RESET_TRIES	500	/* 10 s for whoever holds the device lock */

/*
 * Ends of sessions run here: never in the process that dies, whose neighbours in the
 * exit path would wait for a chip. A disk comes back only after its driver's session
 * has ended, and memory may have to be written to that disk first.
 */
struct workqueue_struct *udrv_wq;
EXPORT_SYMBOL_GPL(udrv_wq);

void udrv_session_put(struct udrv_session *s)
{
	if (!refcount_dec_and_test(&s->ref))
		return;
	if (s->mn.mm)
		mmu_notifier_unregister(&s->mn, s->mn.mm);
	put_pid(s->owner);
	udrv_device_put(s->udev);
	kvfree(s);
}

static void udrv_stop_store(const struct udrv_stop *stop)
{
	switch (stop->write.len_bytes) {
	case 1:
		iowrite8(stop->write.value, stop->at);
		break;
	case 2:
		iowrite16(stop->write.value, stop->at);
		break;
	case 4:
		iowrite32(stop->write.value, stop->at);
		break;
	case 8:
		writeq(stop->write.value, stop->at);	/* never a port */
		break;
	}
}

static u64 udrv_stop_load(const struct udrv_stop *stop)
{
	switch (stop->write.len_bytes) {
	case 1:
		return ioread8(stop->at);
	case 2:
		return ioread16(stop->at);
	case 4:
		return ioread32(stop->at);
	default:
		return readq(stop->at);
	}
}

/*
 * Write what stops the chip, and wait until the bits of the mask read 0. True if there
 * was something to read back, and all of it did.
 */
static bool udrv_stop_chip(struct udrv_session *s)
{
	const struct udrv_stop *stop;
	bool confirmed = false;
	bool refused = false;
	u64 value;
	int ret;

	for (stop = s->stops; stop < s->stops + s->nr_stops; stop++) {
		udrv_stop_store(stop);
		/* It may want to be left alone at first. */
		ret = read_poll_timeout(udrv_stop_load, value, !(value & stop->write.mask),
					100, USEC_PER_SEC, true, stop);
		if (ret) {
			pci_warn(s->udev->pdev, "the chip did not stop when it was told to\n");
			refused = true;
		}
		if (stop->write.mask)
			confirmed = true;
	}
	return confirmed && !refused;
}

/*
 * A reset needs the device lock. Whoever holds it and waits for the session's end
 * (udrv_device_end_session()) lends it to us; it may begin to wait at any time. Not
 * for ever: its holder may wait for somebody who waits for us (a reset of the whole
 * bus, for a neighbour that is being bound). The next driver resets the chip anyway.
 */
static int udrv_reset(struct udrv_device *udev)
{
	unsigned int tries;
	int ret;

	for (tries = 0; tries < UDRV_RESET_TRIES; tries++) {
		if (READ_ONCE(udev->lock_lent))
			return pci_reset_function_locked(udev->pdev);
		ret = pci_try_reset_function(udev->pdev);
		if (ret != -EAGAIN)
			return ret;
		msleep(UDRV_RESET_WAIT_MS);
	}
	pci_warn(udev->pdev, "not reset at the session's end: somebody else holds the device\n");
	return -EAGAIN;
}

/* Reset the function from within udrv: our own handlers need not end a session for it. */
static int udrv_own_reset(struct udrv_device *udev)
{
	int ret;

	WRITE_ONCE(udev->resetter, current);
	ret = udrv_reset(udev);
	WRITE_ONCE(udev->resetter, NULL);
	if (!ret)
		udev->reset_owed = false;
	pci_clear_master(udev->pdev);
	return ret;
}

/*
 * A function level reset takes a tenth of a second, in which a disk has no driver. It can
 * wait until the device is unbound if this is no last resort: PCI Express says that
 * nothing is under way, the chip's own reset is confirmed, and this driver had come as far
 * as to serve and told no lies. The next one resets the chip at its start as ever; if it
 * fails at that, its end has the function reset. Nor does it wait on a device that was bound
 * with --untrusted: nothing of one driver is left in the chip for the next.
 */
static bool udrv_reset_can_wait(struct udrv_session *s)
{
	struct pci_dev *pdev = s->udev->pdev;

	if (!pci_is_pcie(pdev) || pdev->untrusted)
		return false;
	return s->port && !READ_ONCE(s->udev->lock_lent) &&
	       !test_bit(UDRV_SESSION_VIOLATED, &s->flags);
}

/* The device goes back to the kernel, which may not reset it. With the device lock held. */
void udrv_device_pay_reset(struct udrv_device *udev)
{
	if (!udev->reset_owed || !pci_device_is_present(udev->pdev))
		return;
	WRITE_ONCE(udev->lock_lent, true);
	udrv_own_reset(udev);
	WRITE_ONCE(udev->lock_lent, false);
}

/*
 * No DMA after this returns true: bus mastering off, what is under way over, the
 * chip stopped in the way that its driver said (whatever it says of the result),
 * the function reset if it can be and need be.
 */
static bool udrv_quiesce(struct udrv_session *s)
{
	struct pci_dev *pdev = s->udev->pdev;
	bool stopped;
	bool quiet;
	int ret;

	pci_clear_master(pdev);
	if (!pci_device_is_present(pdev))
		return true;		/* pulled out: nothing left to do DMA */
	quiet = pci_wait_for_pending_transaction(pdev);
	if (pci_channel_offline(pdev))
		return quiet;		/* cut off after a bus error; a reset of its slot follows */
	stopped = udrv_stop_chip(s);
	s->udev->reset_owed = true;
	if (quiet && stopped && udrv_reset_can_wait(s))
		return true;
	ret = udrv_own_reset(s->udev);
	/* Pulled out meanwhile: then it has not answered, and there is nothing to wait for. */
	return quiet || !ret || !pci_device_is_present(pdev);
}

/*
 * Rights to I/O ports (ioperm(2)) are the process's own, and nobody else can take them
 * back. The threads that have some: of the owner's memory, and of the owner itself if it
 * has another one by now (execve).
 */
static bool udrv_port_rights_left(struct udrv_session *s, bool kill)
{
	struct task_struct *process, *t;
	bool any = false;

	rcu_read_lock();
	for_each_process_thread(process, t) {
		if (READ_ONCE(t->mm) != s->mn.mm && task_tgid(t) != s->owner)
			continue;
		/* A worker of io_uring never is in user space, whatever flags it copied. */
		if (!udrv_has_port_rights(t) || (t->flags & (PF_EXITING | PF_IO_WORKER)))
			continue;
		if (kill)
			send_sig(SIGKILL, t, 1);
		any = true;
	}
	rcu_read_unlock();
	return any;
}

/*
 * A driver that was told by ENODEV gives its rights back as it ends, and has time to say
 * why. One that still has them then is killed. Once all processors were in the kernel,
 * none of them executes another instruction of it.
 */
static void udrv_end_port_rights(struct udrv_session *s)
{
	unsigned int tries;

	for (tries = 0; tries < UDRV_PORT_RIGHTS_TRIES; tries++) {
		if (!udrv_port_rights_left(s, false))
			return;
		msleep(UDRV_PORT_RIGHTS_MS / UDRV_PORT_RIGHTS_TRIES);
	}
	if (udrv_port_rights_left(s, true))
		kick_all_cpus_sync();
}

/*
 * The order is the product: nobody can start anything new, no interrupt comes,
 * no DMA happens, and only then is memory taken out of the device's reach and
 * given back. The device learns last that it is free; after that the session
 * touches nothing of it.
 */
static void udrv_session_end_work(struct work_struct *work)
{
	struct udrv_session *s = container_of(work, struct udrv_session, end_work);
	struct udrv_device *udev = s->udev;
	unsigned int noio = memalloc_noio_save();	/* our disk may be without a driver */
	bool quiet;

	mutex_lock(&s->lock);
	down_write(&s->map_lock);
	s->dead = true;
	up_write(&s->map_lock);
	mutex_unlock(&s->lock);
	unmap_mapping_range(s->mapping, 0, 0, 1);
	udrv_irq_teardown(s);
	udrv_end_port_rights(s);	/* its readers have been told */
	quiet = udrv_quiesce(s);
	if (!quiet)
		pci_err(udev->pdev, "device cannot be quieted: %ld pinned bytes are kept for ever\n",
			atomic_long_read(&s->pinned_bytes));
	if (s->port)
		s->port->type->detach(s->port, quiet);
	udrv_dma_release_all(s, quiet);
	while (s->nr_stops)
		pci_iounmap(udev->pdev, s->stops[--s->nr_stops].at);

	/* Locked: unbind waits for poll()ers of the state to be told, too. */
	mutex_lock(&udev->lock);
	trace_udrv_session_over(s, quiet);
	udev->session = NULL;
	sysfs_notify(&udev->pdev->dev.kobj, "udrv", "state");
	mutex_unlock(&udev->lock);
	complete_all(&s->ended);
	memalloc_noio_restore(noio);
	udrv_session_put(s);
}

/*
 * Start the end of a session, wherever it comes from: close, death, unbind,
 * violation. Any context. The caller has a reference.
 */
static void udrv_session_kill(struct udrv_session *s, const char *cause)
{
	if (test_and_set_bit(UDRV_SESSION_ENDING, &s->flags))
		return;
	trace_udrv_session_end(s, cause);
	refcount_inc(&s->ref);		/* the worker's */
	queue_work(udrv_wq, &s->end_work);
}

void udrv_session_end(struct udrv_session *s, const char *cause)
{
	udrv_session_kill(s, cause);
	wait_for_completion(&s->ended);
}

/* The session, with a reference; or NULL. */
struct udrv_session *udrv_device_session(struct udrv_device *udev)
{
	struct udrv_session *s;

	mutex_lock(&udev->lock);
	s = udev->session;
	if (s)
		refcount_inc(&s->ref);
	mutex_unlock(&udev->lock);
	return s;
}

/*
 * End the session, if there is one, and wait until it is over. The caller holds the
 * device lock, and sees to it that no other session begins.
 */
void udrv_device_end_session(struct udrv_device *udev, const char *cause)
{
	struct udrv_session *s;

	WRITE_ONCE(udev->lock_lent, true);
	s = udrv_device_session(udev);
	if (s) {
		udrv_session_end(s, cause);
		udrv_session_put(s);
	}
	WRITE_ONCE(udev->lock_lent, false);
}

void udrv_violation(struct udrv_session *s, const char *what)
{
	/* One a session: each of its queues may find the same. */
	if (test_and_set_bit(UDRV_SESSION_VIOLATED, &s->flags))
		return;
	trace_udrv_violation(s, what);
	atomic_long_inc(&s->udev->violations);
	pci_warn(s->udev->pdev, "driver %s (pid %d) broke the protocol: %s; session ended\n",
		 s->comm, s->pid, what);
	udrv_session_kill(s, "violation");
}
EXPORT_SYMBOL_GPL(udrv_violation);

/*
 * Death follows the process that opened the device: when its memory goes, the
 * session ends, even if a child that inherited the file or shares the whole file
 * table lives on, or an io_uring still holds a reference. Other notifiers wait for
 * us to return.
 */
static void udrv_mm_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	udrv_session_kill(container_of(mn, struct udrv_session, mn), "death");
}

static const struct mmu_notifier_ops udrv_mm_ops = {
	.release = udrv_mm_release,
};

static int udrv_release(struct inode *inode, struct file *file)
{
	struct udrv_session *s = file->private_data;

	udrv_session_end(s, "close");	/* its maps are in this inode's mapping */
	udrv_set_freezable(s);
	udrv_session_put(s);
	return 0;
}

/* Make it the device's session. Its end is that of a session from here on. */
static int udrv_session_begin(struct udrv_device *udev, struct udrv_session *s)
{
	int ret;

	mutex_lock(&udev->lock);
	if (udev->removed)
		ret = -ENODEV;
	else if (udev->session)
		ret = -EBUSY;
	else if (udev->closed)
		ret = -EAGAIN;
	else
		ret = udrv_may_open(udev->pdev);
	if (!ret)
		ret = dma_set_mask_and_coherent(&udev->pdev->dev, DMA_BIT_MASK(32));
	if (!ret) {
		trace_udrv_session_begin(s);
		udev->session = s;
	}
	mutex_unlock(&udev->lock);
	return ret;
}

static int udrv_open(struct inode *inode, struct file *file)
{
	struct udrv_device *udev = container_of(file->private_data, struct udrv_device, misc);
	struct udrv_session *s;
	int ret;

	s = kvzalloc(sizeof(*s), GFP_KERNEL);
	if (!s)
		return -ENOMEM;
	refcount_set(&s->ref, 1);
	s->udev = udrv_device_get(udev);
	s->mn.ops = &udrv_mm_ops;
	s->owner = get_task_pid(current, PIDTYPE_TGID);
	s->pid = task_tgid_vnr(current);
	get_task_comm(s->comm, current->group_leader);
	s->mapping = file->f_mapping;
	mutex_init(&s->lock);
	init_rwsem(&s->map_lock);
	xa_init_flags(&s->regions, XA_FLAGS_ALLOC1);
	init_completion(&s->ended);
	INIT_WORK(&s->end_work, udrv_session_end_work);

	/*
	 * All that can fail comes before it is the device's session (this does at a
	 * signal): the end of one waits for a reset, and must not be waited for here,
	 * where misc_open() keeps whoever unbinds the device from going on.
	 */
	ret = mmu_notifier_register(&s->mn, current->mm);
	if (ret)
		goto err_put;
	ret = udrv_session_begin(udev, s);
	if (ret)
		goto err_unregister;
	file->private_data = s;
	udrv_set_freezable(s);
	return 0;

err_unregister:
	set_bit(UDRV_SESSION_ENDING, &s->flags);	/* there is nothing to end */
err_put:
	udrv_session_put(s);
	return ret;
}

const struct file_operations udrv_session_fops = {
	.owner = THIS_MODULE,
	.open = udrv_open,
	.release = udrv_release,
	.unlocked_ioctl = udrv_ioctl,
	.compat_ioctl = compat_ptr_ioctl,	/* structures are the same for 32 bits */
	.mmap = udrv_mmap,
};
