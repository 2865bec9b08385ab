// SPDX-License-Identifier: GPL-2.0-only
/*
 * The calls of a session: who may make them, on what, and in which state.
 */
#include "udrv_core.h"

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

long udrv_ioctl(struct file *file, unsigned int cmd, unsigned long value)
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
