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

/* First page frame and length in pages of a region, or 0 pages if there is none. */
static unsigned long udrv_region_lookup(struct udrv_session *s, unsigned long region,
					unsigned long *pfn)
{
	struct pci_dev *pdev = s->udev->pdev;

	if (region >= UDRV_REGION(UDRV_MMAP_COHERENT(0) >> PAGE_SHIFT))
		return udrv_dma_pages(s, region - (UDRV_MMAP_COHERENT(0) >> UDRV_MMAP_SHIFT), pfn);
	if (region >= UDRV_NR_BARS || !(pci_resource_flags(pdev, region) & IORESOURCE_MEM) ||
	    !PAGE_ALIGNED(pci_resource_start(pdev, region)))
		return 0;
	*pfn = pci_resource_start(pdev, region) >> PAGE_SHIFT;
	return pci_resource_len(pdev, region) >> PAGE_SHIFT;
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
