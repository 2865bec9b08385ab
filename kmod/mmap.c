// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory maps of a session: registers (BARs), coherent blocks, and the rings of
 * the attached port. Registers and coherent memory are entered page by page on
 * fault and taken out again when the session ends: after that a touch raises
 * SIGBUS, and never reaches another driver's registers or freed memory. Ring
 * pages are counted by each map and need no revocation.
 */
#include "udrv_core.h"

/* What an offset for mmap(2) names. */
struct udrv_place_in {
	bool coherent;
	unsigned long number;		/* BAR, port, or handle of coherent memory */
	unsigned long page;		/* of it */
};

static struct udrv_place_in udrv_place_of(unsigned long pgoff)
{
	u64 offset = (u64)pgoff << PAGE_SHIFT;
	struct udrv_place_in place = { .coherent = offset >= UDRV_MMAP_COHERENT(0) };
	unsigned int shift = UDRV_MMAP_SHIFT;

	if (place.coherent) {
		offset -= UDRV_MMAP_COHERENT(0);
		shift = UDRV_MMAP_COHERENT_SHIFT;
	}
	place.number = offset >> shift;
	place.page = (offset & (BIT_ULL(shift) - 1)) >> PAGE_SHIFT;
	return place;
}

/*
 * A BAR that is smaller than a page. The rest of its page may be given to another
 * device, whose registers would be mapped with it: so it is ours while the device is
 * bound, or the BAR cannot be mapped.
 */
struct udrv_margin {
	struct list_head node;
	struct resource res;
};

/*
 * Whether an address is in a BAR or a margin of the device. `end` is the last address
 * for which the same is true.
 */
static bool udrv_is_own(struct udrv_device *udev, resource_size_t at, resource_size_t *end)
{
	struct udrv_margin *margin;
	struct resource *res;
	int i;

	*end = ~(resource_size_t)0;
	for (i = 0; i <= PCI_ROM_RESOURCE; i++) {
		res = &udev->pdev->resource[i];
		if (!res->parent || !(res->flags & IORESOURCE_MEM))
			continue;
		if (at >= res->start && at <= res->end) {
			*end = res->end;
			return true;
		}
		if (at < res->start)
			*end = min(*end, res->start - 1);
	}
	list_for_each_entry(margin, &udev->margins, node) {
		res = &margin->res;
		if (at >= res->start && at <= res->end) {
			*end = res->end;
			return true;
		}
		if (at < res->start)
			*end = min(*end, res->start - 1);
	}
	return false;
}

static int udrv_margin_hold(struct udrv_device *udev, struct resource *parent,
			    resource_size_t start, resource_size_t end)
{
	struct udrv_margin *margin;
	int ret;

	margin = kzalloc(sizeof(*margin), GFP_KERNEL);
	if (!margin)
		return -ENOMEM;
	margin->res.name = "udrv: rest of a page";
	margin->res.start = start;
	margin->res.end = end;
	margin->res.flags = IORESOURCE_MEM | IORESOURCE_BUSY;
	ret = request_resource(parent, &margin->res);
	if (ret)
		kfree(margin);
	else
		list_add(&margin->node, &udev->margins);
	return ret;
}

/* All that is on the pages of the BAR is the device's own, or reserved for it. */
static int udrv_bar_hold(struct udrv_device *udev, struct resource *bar)
{
	resource_size_t last = bar->end | ~PAGE_MASK;
	resource_size_t at, end;
	int ret;

	for (at = bar->start & PAGE_MASK; at <= last; at = end + 1) {
		if (udrv_is_own(udev, at, &end))
			continue;
		end = min(end, last);
		ret = udrv_margin_hold(udev, bar->parent, at, end);
		if (ret)
			return ret;
	}
	return 0;
}

/* With the device enabled, and not yet open to anybody. */
void udrv_bars_hold(struct udrv_device *udev)
{
	struct resource *bar;
	int i;

	for (i = 0; i < UDRV_NR_BARS; i++) {
		bar = &udev->pdev->resource[i];
		if (!(bar->flags & IORESOURCE_MEM) || !bar->parent || !resource_size(bar))
			continue;
		if (udrv_bar_hold(udev, bar))
			pci_warn(udev->pdev, "BAR %d shares a page with another device: it cannot be mapped\n",
				 i);
		else
			udev->bar_maps |= BIT(i);
	}
}

void udrv_bars_release(struct udrv_device *udev)
{
	struct udrv_margin *margin, *next;

	list_for_each_entry_safe(margin, next, &udev->margins, node) {
		release_resource(&margin->res);
		list_del(&margin->node);
		kfree(margin);
	}
}

/* First page frame and length in pages of a BAR or a block, or 0 pages if there is none. */
static unsigned long udrv_place_lookup(struct udrv_session *s, const struct udrv_place_in *place,
				       unsigned long *pfn)
{
	struct pci_dev *pdev = s->udev->pdev;
	unsigned long bar = place->number;
	resource_size_t start;

	if (place->coherent)
		return udrv_dma_pages(s, place->number, pfn);
	if (bar >= UDRV_NR_BARS)
		return 0;
	bar = array_index_nospec(bar, UDRV_NR_BARS);
	if (!(s->udev->bar_maps & BIT(bar)))
		return 0;
	start = pci_resource_start(pdev, bar);
	*pfn = start >> PAGE_SHIFT;
	return PAGE_ALIGN(offset_in_page(start) + pci_resource_len(pdev, bar)) >> PAGE_SHIFT;
}

static vm_fault_t udrv_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct udrv_session *s = vma->vm_private_data;
	struct udrv_place_in place = udrv_place_of(vmf->pgoff);
	vm_fault_t ret = VM_FAULT_SIGBUS;
	unsigned long pfn;

	down_read(&s->map_lock);
	if (!s->dead && place.page < udrv_place_lookup(s, &place, &pfn))
		ret = vmf_insert_pfn(vma, vmf->address & PAGE_MASK, pfn + place.page);
	up_read(&s->map_lock);
	return ret;
}

static const struct vm_operations_struct udrv_vm_ops = { .fault = udrv_fault };

int udrv_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct udrv_session *s = file->private_data;
	struct udrv_place_in place = udrv_place_of(vma->vm_pgoff);
	unsigned long nr, pfn;
	int ret;

	if (!(vma->vm_flags & VM_SHARED) || vma->vm_mm != s->mn.mm)
		return -EINVAL;
	/* A child must not inherit the registers. */
	vm_flags_set(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP);
	down_read(&s->map_lock);
	ret = s->dead ? -ENODEV : -EINVAL;
	nr = s->dead ? 0 : udrv_place_lookup(s, &place, &pfn);
	if (!s->dead && !place.coherent && place.number == UDRV_MMAP_PORT >> UDRV_MMAP_SHIFT &&
	    READ_ONCE(s->port)) {
		ret = remap_vmalloc_range(vma, s->port->shm, place.page);	/* set once */
	} else if (place.page < nr && vma_pages(vma) <= nr - place.page) {
		vm_flags_set(vma, VM_IO | VM_PFNMAP);
		if (!place.coherent)
			vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
		vma->vm_private_data = s;
		vma->vm_ops = &udrv_vm_ops;
		ret = 0;
	}
	up_read(&s->map_lock);
	return ret;
}
