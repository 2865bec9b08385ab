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

	if (info->abi_version != UDRV_ABI_VERSION) {
		info->abi_version = UDRV_ABI_VERSION;
		return -EPROTO;
	}
	*info = (struct udrv_info){
		.size = info->size,
		.abi_version = UDRV_ABI_VERSION,
		.features = info->features & UDRV_FEATURES_ALL,
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

	if (c->write > 1 || c->offset >= pdev->cfg_size || (!c->write && c->offset % 4))
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
	udrv_bus_master_set(s, *on);
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
	return w->offset % w->len_bytes == 0 &&
	       (u64)w->offset + w->len_bytes <= pci_resource_len(pdev, w->bar);
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

#define UDRV_CALL_LOCKED	BIT(0)	/* with s->lock held and the session not dead */
#define UDRV_CALL_ANSWERS	BIT(1)	/* its structure is written back */

static const struct udrv_call {
	unsigned int cmd;
	unsigned int flags;
	u32 bytes;		/* of its structure; 0: it takes a value */
	u32 least;		/* of these, in the first version of ABI 4 */
	int (*call)(struct udrv_session *s, void *arg);
} udrv_calls[] = {
	{ UDRV_IOC_INFO, UDRV_CALL_LOCKED | UDRV_CALL_ANSWERS,
	  sizeof(struct udrv_info), 184, udrv_info },
	{ UDRV_IOC_CONFIG, UDRV_CALL_LOCKED | UDRV_CALL_ANSWERS,
	  sizeof(struct udrv_config), 16, udrv_config },
	{ UDRV_IOC_IRQ_SETUP, UDRV_CALL_LOCKED | UDRV_CALL_ANSWERS,
	  sizeof(struct udrv_irq_setup), 144, udrv_irq_setup },
	{ UDRV_IOC_IRQ_OPEN, UDRV_CALL_LOCKED, 0, 0, udrv_irq_open_fd },
	{ UDRV_IOC_INTX_MASK, UDRV_CALL_LOCKED,
	  sizeof(struct udrv_intx_mask), 24, udrv_intx_mask_by },
	{ UDRV_IOC_DMA_BITS, UDRV_CALL_LOCKED, 0, 0, udrv_dma_bits },
	{ UDRV_IOC_BUS_MASTER, UDRV_CALL_LOCKED, 0, 0, udrv_bus_master },
	{ UDRV_IOC_STOP_WRITE, UDRV_CALL_LOCKED,
	  sizeof(struct udrv_stop_write), 32, udrv_stop_write },
	{ UDRV_IOC_COHERENT, UDRV_CALL_LOCKED | UDRV_CALL_ANSWERS,
	  sizeof(struct udrv_coherent), 24, udrv_dma_coherent },
	{ UDRV_IOC_DMA_EXCHANGE, 0, sizeof(struct udrv_dma_exchange), 16, udrv_dma_exchange },
	{ UDRV_IOC_ATTACH, 0, sizeof(struct udrv_attach), 16, udrv_attach },
};

/*
 * A structure of the caller's, which begins with its size. What it does not have is 0,
 * what we do not know must be. Returns its size.
 */
long udrv_copy_struct(void *to, u32 bytes, u32 least, const void __user *from)
{
	u32 size;
	int ret;

	if (get_user(size, (const u32 __user *)from))
		return -EFAULT;
	if (size < least)
		return -EINVAL;
	if (size > PAGE_SIZE + bytes)
		return -E2BIG;
	ret = copy_struct_from_user(to, bytes, from, size);
	if (ret)
		return ret;
	*(u32 *)to = size;	/* as it was read first */
	return size;
}

/*
 * UDRV_IOC_INFO of the versions 1 to 3 of the ABI. Their programs begin with it, and
 * say in their own words what is wrong when the version is not theirs.
 */
static long udrv_old_info(unsigned int cmd, void __user *uarg)
{
	if (_IOC_TYPE(cmd) != _IOC_TYPE(UDRV_IOC_INFO) || _IOC_NR(cmd) ||
	    _IOC_DIR(cmd) != _IOC_READ || _IOC_SIZE(cmd) < sizeof(u32))
		return -ENOTTY;
	return put_user((u32)UDRV_ABI_VERSION, (u32 __user *)uarg);
}

long udrv_ioctl(struct file *file, unsigned int cmd, unsigned long value)
{
	struct udrv_session *s = file->private_data;
	const struct udrv_call *c = udrv_calls;
	void __user *uarg = (void __user *)value;
	u64 arg[sizeof(struct udrv_info) / sizeof(u64)] = { value };	/* the largest */
	unsigned int noio;
	long size = 0;
	int ret;

	while (c->cmd != cmd)
		if (++c == udrv_calls + ARRAY_SIZE(udrv_calls))
			return udrv_old_info(cmd, uarg);
	if (current->mm != s->mn.mm)
		return -EPERM;
	udrv_set_freezable(s);
	if (c->bytes)
		size = udrv_copy_struct(arg, c->bytes, c->least, uarg);
	if (size < 0)
		return size;
	/*
	 * Memory that the call needs must not be waited for on the disk that this very
	 * process serves; nor may the end of the session, which needs s->lock.
	 */
	noio = memalloc_noio_save();
	if (c->flags & UDRV_CALL_LOCKED)
		mutex_lock(&s->lock);
	ret = s->dead ? -ENODEV : c->call(s, arg);	/* not locked: looks again */
	if (c->flags & UDRV_CALL_LOCKED)
		mutex_unlock(&s->lock);
	memalloc_noio_restore(noio);
	if ((c->flags & UDRV_CALL_ANSWERS) &&
	    copy_to_user(uarg, arg, min_t(u32, size, c->bytes)) && ret >= 0)
		ret = -EFAULT;
	return ret;
}
