// SPDX-License-Identifier: GPL-2.0-only
/*
 * The calls of a session: who may make them, on what, and in which state.
 */
#include "udrv_core.h"

static bool udrv_msi_maskable(struct pci_dev *pdev)
{
	u16 control;

	if (!pdev->msi_cap)
		return false;
	pci_read_config_word(pdev, pdev->msi_cap + PCI_MSI_FLAGS, &control);
	return control & PCI_MSI_FLAGS_MASKBIT;
}

static int udrv_info(struct udrv_session *s, void *arg)
{
	struct pci_dev *pdev = s->udev->pdev;
	struct udrv_info *info = arg;
	int i;

	*info = (struct udrv_info){
		.abi_version = UDRV_ABI_VERSION,
		.vendor = pdev->vendor,
		.device = pdev->device,
		.subsystem_vendor = pdev->subsystem_vendor,
		.subsystem_device = pdev->subsystem_device,
		.class_code = pdev->class,
		.nr_msi = max(pci_msi_vec_count(pdev), 0),
		.nr_msix = max(pci_msix_vec_count(pdev), 0),
	};
	if (s->udev->intx_maskable)
		info->flags |= UDRV_DEV_INTX_MASKABLE;
	if (udrv_confined(pdev))
		info->flags |= UDRV_DEV_IOMMU;
	if (pdev->reset_methods[0])
		info->flags |= UDRV_DEV_RESET;
	if (udrv_msi_maskable(pdev))
		info->flags |= UDRV_DEV_MSI_MASKABLE;
	for (i = 0; i < UDRV_NR_BARS; i++) {
		info->bars[i].start = pci_resource_start(pdev, i);
		info->bars[i].len_bytes = pci_resource_len(pdev, i);
		info->bars[i].flags = pci_resource_flags(pdev, i) &
				      (IORESOURCE_IO | IORESOURCE_MEM | IORESOURCE_PREFETCH);
		if (s->udev->bar_maps & BIT(i)) {
			info->bars[i].flags |= UDRV_BAR_MMAP;
			info->bars[i].page_offset = offset_in_page(pci_resource_start(pdev, i));
		}
	}
	return 0;
}

/*
 * Functions whose registers 0x40 to 0x4f are timings, and nothing else: IDETIM, SIDETIM,
 * UDMACTL, UDMATIM. Of another maker's IDE controller they may be anything.
 */
static const struct pci_device_id udrv_piix_ide[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_INTEL, PCI_DEVICE_ID_INTEL_82371SB_1) },	/* PIIX3 */
	{ PCI_DEVICE(PCI_VENDOR_ID_INTEL, PCI_DEVICE_ID_INTEL_82371AB) },	/* PIIX4 */
	{ }
};

/* How much the function may read at once in PCI-X mode: chips have errata about that. */
static bool udrv_is_pcix_read_size(struct pci_dev *pdev, u32 offset, u8 value)
{
	int pcix = pci_find_capability(pdev, PCI_CAP_ID_PCIX);
	u8 now;

	if (!pcix || offset != pcix + PCI_X_CMD || pci_read_config_byte(pdev, offset, &now))
		return false;
	return !((value ^ now) & ~PCI_X_CMD_MAX_READ);
}

/* Never a BAR, an MSI address, or bus mastering behind the kernel's back. */
static bool udrv_config_writable(struct pci_dev *pdev, u32 offset, u8 value)
{
	if (offset == PCI_CACHE_LINE_SIZE || offset == PCI_LATENCY_TIMER)
		return true;
	if (offset >= 0x40 && offset < 0x50 && pci_match_id(udrv_piix_ide, pdev))
		return true;
	return udrv_is_pcix_read_size(pdev, offset, value);
}

/*
 * Not by pci_user_read_config_dword(): that waits while the function is being reset,
 * with the session locked, and the reset waits for the session's end. (It begins when
 * the session is dead; so none is under way here.)
 */
static int udrv_config(struct udrv_session *s, void *arg)
{
	struct pci_dev *pdev = s->udev->pdev;
	struct udrv_config *c = arg;
	int ret;

	if (c->write > 1 || c->offset >= pdev->cfg_size || (!c->write && c->offset % 4) ||
	    c->reserved)
		return -EINVAL;
	if (!c->write)
		ret = pci_read_config_dword(pdev, c->offset, &c->value);
	else if (udrv_config_writable(pdev, c->offset, c->value))
		ret = pci_write_config_byte(pdev, c->offset, c->value);
	else
		return -EPERM;
	return pcibios_err_to_errno(ret);
}

static int udrv_bus_master(struct udrv_session *s, void *arg)
{
	unsigned long *on = arg;

	if (*on > 1)
		return -EINVAL;
	if (*on)
		pci_set_master(s->udev->pdev);
	else
		pci_clear_master(s->udev->pdev);
	return 0;
}

static bool udrv_stop_write_valid(struct pci_dev *pdev, const struct udrv_stop_write *w)
{
	bool ports = pci_resource_flags(pdev, w->bar) & IORESOURCE_IO;

	switch (w->len_bytes) {
	case 8:
		if (ports)
			return false;
		break;
	case 1:
	case 2:
	case 4:
		if ((w->value | w->mask) >> (8 * w->len_bytes))
			return false;
		break;
	default:
		return false;
	}
	return !w->reserved && w->offset % w->len_bytes == 0 &&
	       w->offset + w->len_bytes <= pci_resource_len(pdev, w->bar);
}

static int udrv_stop_write(struct udrv_session *s, void *arg)
{
	struct pci_dev *pdev = s->udev->pdev;
	struct udrv_stop_write *w = arg;
	struct udrv_stop *stop;

	if (w->bar >= UDRV_NR_BARS)
		return -EINVAL;
	w->bar = array_index_nospec(w->bar, UDRV_NR_BARS);
	if (!udrv_stop_write_valid(pdev, w))
		return -EINVAL;
	if (s->nr_stops == UDRV_MAX_STOP_WRITES)
		return -ENOSPC;
	stop = &s->stops[s->nr_stops];
	stop->write = *w;
	/* Now, since it may fail. */
	stop->at = pci_iomap_range(pdev, w->bar, w->offset, w->len_bytes);
	if (!stop->at)
		return -ENOMEM;
	s->nr_stops++;
	return 0;
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
	{ UDRV_IOC_INTX_MASK, true, udrv_intx_mask_by },
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
	unsigned int noio;
	int ret;

	while (c->cmd != cmd)
		if (++c == udrv_calls + ARRAY_SIZE(udrv_calls))
			return -ENOTTY;
	if (current->mm != s->mn.mm)
		return -EPERM;
	udrv_set_freezable(s);
	if ((_IOC_DIR(cmd) & _IOC_WRITE) && copy_from_user(arg, uarg, _IOC_SIZE(cmd)))
		return -EFAULT;
	/*
	 * Memory that the call needs must not be waited for on the disk that this very
	 * process serves; nor may the end of the session, which needs s->lock.
	 */
	noio = memalloc_noio_save();
	if (c->locked)
		mutex_lock(&s->lock);
	ret = s->dead ? -ENODEV : c->call(s, arg);	/* not locked: looks again */
	if (c->locked)
		mutex_unlock(&s->lock);
	memalloc_noio_restore(noio);
	if ((_IOC_DIR(cmd) & _IOC_READ) && copy_to_user(uarg, arg, _IOC_SIZE(cmd)) && ret >= 0)
		ret = -EFAULT;
	return ret;
}
