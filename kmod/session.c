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

/* ---- Calls ---------------------------------------------------------------- */

static int udrv_info(struct udrv_session *s, void *arg)
{
	struct pci_dev *pdev = s->udev->pdev;
	struct udrv_info *info = arg;
	int i;

	*info = (struct udrv_info){
		.abi_version = UDRV_ABI_VERSION,
		.flags = (s->udev->intx_maskable ? UDRV_DEV_INTX_MASKABLE : 0) |
			 (udrv_confined(pdev) ? UDRV_DEV_IOMMU : 0) |
			 (pdev->reset_methods[0] ? UDRV_DEV_RESET : 0),
		.vendor = pdev->vendor, .device = pdev->device, .class_code = pdev->class,
		.subsystem_vendor = pdev->subsystem_vendor,
		.subsystem_device = pdev->subsystem_device,
		.nr_msi = max(pci_msi_vec_count(pdev), 0),
		.nr_msix = max(pci_msix_vec_count(pdev), 0),
	};
	for (i = 0; i < UDRV_NR_BARS; i++) {
		info->bars[i].start = pci_resource_start(pdev, i);
		info->bars[i].len_bytes = pci_resource_len(pdev, i);
		info->bars[i].flags = pci_resource_flags(pdev, i) &
				      (IORESOURCE_IO | IORESOURCE_MEM | IORESOURCE_PREFETCH);
	}
	return 0;
}

/* Never a BAR, an MSI address, or bus mastering behind the kernel's back. */
static int udrv_config(struct udrv_session *s, void *arg)
{
	struct pci_dev *pdev = s->udev->pdev;
	bool ide = (pdev->class >> 8) == PCI_CLASS_STORAGE_IDE;
	struct udrv_config *c = arg;

	if (c->write > 1 || c->offset >= pdev->cfg_size || (!c->write && c->offset % 4) ||
	    c->reserved)
		return -EINVAL;
	if (!c->write)
		return pci_user_read_config_dword(pdev, c->offset, &c->value);
	if (c->offset != PCI_CACHE_LINE_SIZE && c->offset != PCI_LATENCY_TIMER &&
	    !(ide && c->offset >= 0x40 && c->offset < 0x50))
		return -EPERM;
	return pci_user_write_config_byte(pdev, c->offset, c->value);
}

static int udrv_bus_master(struct udrv_session *s, void *arg)
{
	unsigned long *on = arg;

	if (*on > 1)
		return -EINVAL;
	(*on ? pci_set_master : pci_clear_master)(s->udev->pdev);
	return 0;
}

static int udrv_stop_write(struct udrv_session *s, void *arg)
{
	struct pci_dev *pdev = s->udev->pdev;
	struct udrv_stop_write *w = arg;
	struct udrv_stop *stop = s->stops + s->nr_stops;

	if (w->bar >= UDRV_NR_BARS || (w->len_bytes != 1 && w->len_bytes != 4) || w->reserved ||
	    w->offset % w->len_bytes || w->offset >= pci_resource_len(pdev, w->bar))
		return -EINVAL;
	if (s->nr_stops == UDRV_MAX_STOP_WRITES)
		return -ENOSPC;
	stop->write = *w;
	stop->at = pci_iomap_range(pdev, w->bar, w->offset, w->len_bytes);	/* now: may fail */
	s->nr_stops += !!stop->at;
	return stop->at ? 0 : -ENOMEM;
}

static int udrv_attach(struct udrv_session *s, void *argp)
{
	struct udrv_attach *attach = argp;
	struct udrv_device *udev = s->udev;
	struct udrv_port *port;
	struct udrv_port_type *type;
	void *arg;
	int ret;

	type = udrv_port_type_get(attach->kind);
	if (!type)
		return -EPROTONOSUPPORT;
	arg = attach->len_bytes == type->arg_bytes ?
	      memdup_user(u64_to_user_ptr(attach->arg), type->arg_bytes) : ERR_PTR(-EINVAL);
	ret = PTR_ERR_OR_ZERO(arg);
	if (ret)
		goto out;
	mutex_lock(&s->lock);
	/* A port of another kind stays until unbind. */
	port = s->dead ? ERR_PTR(-ENODEV) :
	       s->port || (udev->port && udev->port->type != type) ? ERR_PTR(-EBUSY) :
	       type->attach(s, udev->port, arg);
	ret = PTR_ERR_OR_ZERO(port);
	if (!ret) {
		if (!udev->port)
			__module_get(type->owner);	/* as long as the port is there */
		udev->port = port;
		port->type = type;
		WRITE_ONCE(s->port, port);
		rcu_assign_pointer(port->irq->port, port);
	}
	mutex_unlock(&s->lock);
	if (!ret && copy_to_user(u64_to_user_ptr(attach->arg), arg, type->arg_bytes))
		ret = -EFAULT;
	kfree(arg);
out:
	module_put(type->owner);
	return ret;
}

static const struct udrv_call {
	unsigned int cmd;
	bool locked;		/* called with s->lock held and the session not dead */
	int (*call)(struct udrv_session *s, void *arg);
} udrv_calls[] = {
	{ UDRV_IOC_INFO, true, udrv_info },
	{ UDRV_IOC_CONFIG, true, udrv_config },
	{ UDRV_IOC_IRQ_SETUP, true, udrv_irq_setup },
	{ UDRV_IOC_IRQ_OPEN, true, udrv_irq_open_fd },
	{ UDRV_IOC_DMA_BITS, true, udrv_dma_bits },
	{ UDRV_IOC_BUS_MASTER, true, udrv_bus_master },
	{ UDRV_IOC_STOP_WRITE, true, udrv_stop_write },
	{ UDRV_IOC_COHERENT, true, udrv_dma_coherent },
	{ UDRV_IOC_DMA_EXCHANGE, false, udrv_dma_exchange },
	{ UDRV_IOC_ATTACH, false, udrv_attach },
};

static long udrv_ioctl(struct file *file, unsigned int cmd, unsigned long value)
{
	struct udrv_session *s = file->private_data;
	const struct udrv_call *c = udrv_calls;
	void __user *uarg = (void __user *)value;
	u64 arg[sizeof(struct udrv_info) / sizeof(u64)] = { value };	/* the largest */
	int ret;

	while (c->cmd != cmd)
		if (++c == udrv_calls + ARRAY_SIZE(udrv_calls))
			return -ENOTTY;
	if (current->mm != s->mn.mm)
		return -EPERM;
	if ((_IOC_DIR(cmd) & _IOC_WRITE) && copy_from_user(arg, uarg, _IOC_SIZE(cmd)))
		return -EFAULT;
	if (c->locked)
		mutex_lock(&s->lock);
	ret = s->dead ? -ENODEV : c->call(s, arg);	/* not locked: looks again */
	if (c->locked)
		mutex_unlock(&s->lock);
	if ((_IOC_DIR(cmd) & _IOC_READ) && copy_to_user(uarg, arg, _IOC_SIZE(cmd)) && ret >= 0)
		ret = -EFAULT;
	return ret;
}

const struct file_operations udrv_session_fops = {
	.owner = THIS_MODULE, .open = udrv_open, .release = udrv_release,
	.unlocked_ioctl = udrv_ioctl, .mmap = udrv_mmap,
};
