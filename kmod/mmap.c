// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory maps of a session: registers (BARs), coherent blocks, and the rings of
 * the attached port. Registers and coherent memory are entered page by page on
 * fault and taken out again when the session ends: after that a touch raises
 * SIGBUS, and never reaches another driver's registers or freed memory. Ring
 * pages are counted by each map and need no revocation.
 */
#include "udrv_core.h"

#define UDRV_REGION_SHIFT	(UDRV_MMAP_SHIFT - PAGE_SHIFT)
#define UDRV_REGION(pgoff)	((pgoff) >> UDRV_REGION_SHIFT)
#define UDRV_REGION_PAGE(pgoff)	((pgoff) & ((1UL << UDRV_REGION_SHIFT) - 1))

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
			pci_warn(udev->pdev, "BAR %d shares a page with another device: it can not be mapped\n",
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

/* First page frame and length in pages of a region, or 0 pages if there is none. */
static unsigned long udrv_region_lookup(struct udrv_session *s, unsigned long region,
					unsigned long *pfn)
{
	struct pci_dev *pdev = s->udev->pdev;
	resource_size_t start;

	if (region >= UDRV_REGION(UDRV_MMAP_COHERENT(0) >> PAGE_SHIFT))
		return udrv_dma_pages(s, region - (UDRV_MMAP_COHERENT(0) >> UDRV_MMAP_SHIFT), pfn);
	if (region >= UDRV_NR_BARS)
		return 0;
	region = array_index_nospec(region, UDRV_NR_BARS);
	if (!(s->udev->bar_maps & BIT(region)))
		return 0;
	start = pci_resource_start(pdev, region);
	*pfn = start >> PAGE_SHIFT;
	return PAGE_ALIGN(offset_in_page(start) + pci_resource_len(pdev, region)) >> PAGE_SHIFT;
}

static vm_fault_t udrv_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct udrv_session *s = vma->vm_private_data;
	unsigned long page = UDRV_REGION_PAGE(vmf->pgoff), pfn;
	vm_fault_t ret = VM_FAULT_SIGBUS;

	down_read(&s->map_lock);
	if (!s->dead && page < udrv_region_lookup(s, UDRV_REGION(vmf->pgoff), &pfn))
		ret = vmf_insert_pfn(vma, vmf->address & PAGE_MASK, pfn + page);
	up_read(&s->map_lock);
	return ret;
}

static const struct vm_operations_struct udrv_vm_ops = { .fault = udrv_fault };

int udrv_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct udrv_session *s = file->private_data;
	unsigned long region = UDRV_REGION(vma->vm_pgoff);
	unsigned long page = UDRV_REGION_PAGE(vma->vm_pgoff), nr, pfn;
	int ret;

	if (!(vma->vm_flags & VM_SHARED) || vma->vm_mm != s->mn.mm)
		return -EINVAL;
	/* A child must not inherit the registers. */
	vm_flags_set(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP);
	down_read(&s->map_lock);
	ret = s->dead ? -ENODEV : -EINVAL;
	nr = s->dead ? 0 : udrv_region_lookup(s, region, &pfn);
	if (!s->dead && region == UDRV_MMAP_PORT >> UDRV_MMAP_SHIFT && READ_ONCE(s->port)) {
		ret = remap_vmalloc_range(vma, s->port->shm, page);	/* set once */
	} else if (page < nr && vma_pages(vma) <= nr - page) {
		vm_flags_set(vma, VM_IO | VM_PFNMAP);
		if (region < UDRV_NR_BARS)
			vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
		vma->vm_private_data = s;
		vma->vm_ops = &udrv_vm_ops;
		ret = 0;
	}
	up_read(&s->map_lock);
	return ret;
}
