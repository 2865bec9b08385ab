// SPDX-License-Identifier: GPL-2.0-only
/*
 * One open of /dev/udrv/<bdf>: the session, its calls, and above all its end.
 */
#include "udrv_core.h"

void udrv_session_put(struct udrv_session *s)
{
	if (refcount_dec_and_test(&s->ref)) {
		if (s->mn.mm)
			mmu_notifier_unregister(&s->mn, s->mn.mm);
		kvfree(s);
	}
}

/*
 * No DMA after this returns true: bus mastering off, what is under way over, the
 * chip stopped in the way that its driver said (whatever it says of the result),
 * the function reset if it can be. A reset needs the device lock, which
 * udrv_remove() holds while it waits for us: then it is held on our behalf.
 */
static bool udrv_quiesce(struct udrv_session *s)
{
	struct pci_dev *pdev = s->udev->pdev;
	const struct udrv_stop *stop;
	bool quiet;
	u32 value;
	int ret;

	pci_clear_master(pdev);
	if (!pci_device_is_present(pdev))
		return true;		/* pulled out: nothing left to do DMA */
	quiet = pci_wait_for_pending_transaction(pdev);
	for (stop = s->stops; stop < s->stops + s->nr_stops; stop++) {
		const struct udrv_stop_write *w = &stop->write;

		if (w->len_bytes == 1)
			iowrite8(w->value, stop->at);
		else
			iowrite32(w->value, stop->at);
		/* It may want to be left alone at first. */
		if (read_poll_timeout((w->len_bytes == 1 ? ioread8 : ioread32), value,
				      !(value & w->mask), 100, USEC_PER_SEC, true, stop->at))
			pci_warn(pdev, "the chip did not stop when it was told to\n");
	}
	while ((ret = READ_ONCE(s->udev->removed) ? pci_reset_function_locked(pdev) :
						 pci_try_reset_function(pdev)) == -EAGAIN)
		msleep(20);
	pci_clear_master(pdev);
	return quiet || !ret;
}

/*
 * The end of a session, from wherever it comes: close, death, unbind, violation.
 * The order is the product: nobody can start anything new, no interrupt comes,
 * no DMA happens, and only then is memory taken out of the device's reach and
 * given back.
 */
void udrv_session_end(struct udrv_session *s)
{
	struct udrv_device *udev = s->udev;
	bool quiet;

	if (test_and_set_bit(UDRV_SESSION_ENDING, &s->flags)) {
		wait_for_completion(&s->ended);
		return;
	}

	mutex_lock(&s->lock);
	down_write(&s->map_lock);
	s->dead = true;
	up_write(&s->map_lock);
	mutex_unlock(&s->lock);
	unmap_mapping_range(s->mapping, 0, 0, 1);
	udrv_irq_teardown(s);
	quiet = udrv_quiesce(s);
	if (!quiet)
		pci_err(udev->pdev, "device can not be quieted: %ld pinned bytes are kept for ever\n",
			atomic_long_read(&s->pinned_bytes));
	if (s->port)
		s->port->type->detach(s->port, quiet);
	udrv_dma_release_all(s, quiet);
	while (s->nr_stops)
		pci_iounmap(udev->pdev, s->stops[--s->nr_stops].at);

	spin_lock(&udev->lock);
	udev->session = NULL;
	spin_unlock(&udev->lock);
	sysfs_notify(&udev->pdev->dev.kobj, "udrv", "state");	/* poll() of it wakes */
	complete_all(&s->ended);
}

static void udrv_session_end_work(struct work_struct *work)
{
	struct udrv_session *s = container_of(work, struct udrv_session, end_work);

	udrv_session_end(s);
	udrv_session_put(s);
}

void udrv_violation(struct udrv_session *s, const char *what)
{
	atomic_long_inc(&s->udev->violations);
	if (test_and_set_bit(UDRV_SESSION_VIOLATED, &s->flags))
		return;
	pci_warn(s->udev->pdev, "driver %s (pid %d) broke the protocol: %s; session ended\n",
		 s->comm, s->pid, what);
	refcount_inc(&s->ref);
	schedule_work(&s->end_work);
}
EXPORT_SYMBOL_GPL(udrv_violation);

/*
 * Death follows the process that opened the device: when its memory goes, the
 * session ends, even if a child that inherited the file or shares the whole file
 * table lives on, or an io_uring still holds a reference.
 */
static void udrv_mm_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	udrv_session_end(container_of(mn, struct udrv_session, mn));
}

static const struct mmu_notifier_ops udrv_mm_ops = { .release = udrv_mm_release };

static int udrv_release(struct inode *inode, struct file *file)
{
	struct udrv_session *s = file->private_data;

	udrv_session_end(s);
	if (cancel_work_sync(&s->end_work))	/* it must not run after rmmod */
		udrv_session_put(s);
	udrv_session_put(s);
	return 0;
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
	s->udev = udev;
	s->mn.ops = &udrv_mm_ops;
	s->pid = task_tgid_vnr(current);
	get_task_comm(s->comm, current->group_leader);
	s->mapping = file->f_mapping;
	mutex_init(&s->lock);
	init_rwsem(&s->map_lock);
	xa_init_flags(&s->regions, XA_FLAGS_ALLOC1);
	init_completion(&s->ended);
	INIT_WORK(&s->end_work, udrv_session_end_work);

	spin_lock(&udev->lock);
	ret = udev->session ? -EBUSY : udev->removed ? -ENODEV : 0;
	if (!ret)
		udev->session = s;
	spin_unlock(&udev->lock);
	if (ret) {
		udrv_session_put(s);
		return ret;
	}
	file->private_data = s;
	ret = mmu_notifier_register(&s->mn, current->mm) ?:
	      dma_set_mask_and_coherent(&udev->pdev->dev, DMA_BIT_MASK(32));
	return ret ? udrv_release(inode, file) ?: ret : 0;
}

const struct file_operations udrv_session_fops = {
	.owner = THIS_MODULE, .open = udrv_open, .release = udrv_release,
	.unlocked_ioctl = udrv_ioctl, .mmap = udrv_mmap,
};
