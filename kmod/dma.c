// SPDX-License-Identifier: GPL-2.0-only
/*
 * DMA: pin and translate the driver's memory for its device, and nothing else.
 *
 * User memory is touched (and may fault, or sleep on a userfaultfd of the
 * driver's own making) without any lock; a region enters the session under
 * s->lock, which a dead session refuses.
 */
#include "udrv_core.h"

#define UDRV_MAX_REGION_PAGES	BIT(19)	/* 2 GiB */

/* Pinned memory of the driver, or (coherent set) memory of ours that it maps. */
struct udrv_region {
	struct page *coherent;
	dma_addr_t dma_addr;		/* of coherent memory */
	long nr_pages;
	struct page **pages;
	struct sg_table sgt;
	enum dma_data_direction dir;
	bool mapped;
	struct rcu_head rcu;		/* udrv_dma_pages() looks without s->lock */
};

int udrv_dma_bits(struct udrv_session *s, void *arg)
{
	unsigned long *bits = arg;

	if (*bits < 24 || *bits > 64)
		return -EINVAL;
	if (atomic_read(&s->nr_regions) || s->port)
		return -EBUSY;
	return dma_set_mask_and_coherent(&s->udev->pdev->dev, DMA_BIT_MASK(*bits));
}

/* Charge pages to the owner's RLIMIT_MEMLOCK; a negative number gives them back. */
static int udrv_charge(struct udrv_session *s, long nr_pages)
{
	int ret = account_locked_vm(s->mn.mm, abs(nr_pages), nr_pages > 0);

	if (!ret)
		atomic_long_add(nr_pages * (long)PAGE_SIZE, &s->pinned_bytes);
	return ret;
}

/* While the device is ours: under s->lock in a live session, or at its end. */
static void udrv_region_unmap(struct udrv_session *s, struct udrv_region *r)
{
	if (r->mapped)
		dma_unmap_sgtable(&s->udev->pdev->dev, &r->sgt, r->dir, DMA_ATTR_SKIP_CPU_SYNC);
	r->mapped = false;
}

/* From any state of construction; unmapped already, if the session may be over. */
static void udrv_region_free(struct udrv_session *s, struct udrv_region *r)
{
	if (r->coherent) {
		dma_free_pages(&s->udev->pdev->dev, r->nr_pages << PAGE_SHIFT, r->coherent,
			       r->dma_addr, r->dir);
	} else if (r->pages) {
		udrv_region_unmap(s, r);
		sg_free_table(&r->sgt);
		unpin_user_pages_dirty_lock(r->pages, r->nr_pages, r->dir != DMA_TO_DEVICE);
		kvfree(r->pages);
	}
	udrv_charge(s, -r->nr_pages);
	kfree_rcu(r, rcu);
}

/* With s->lock held. */
static int udrv_region_enter(struct udrv_session *s, struct udrv_region *r, u32 *handle)
{
	int ret = xa_alloc(&s->regions, handle, r, XA_LIMIT(1, UDRV_MAX_DMA_REGIONS), GFP_KERNEL);

	if (!ret)
		atomic_inc(&s->nr_regions);
	return ret == -EBUSY ? -ENOSPC : ret;
}

/* With s->lock held. */
int udrv_dma_coherent(struct udrv_session *s, void *argp)
{
	struct udrv_coherent *arg = argp;
	struct udrv_region *r;
	int ret;

	if (!arg->len_bytes || arg->len_bytes > PAGE_SIZE << 10)
		return -EINVAL;
	r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);
	if (!r)
		return -ENOMEM;
	arg->len_bytes = PAGE_ALIGN(arg->len_bytes);
	r->dir = DMA_BIDIRECTIONAL;
	ret = udrv_charge(s, arg->len_bytes >> PAGE_SHIFT);
	if (ret)
		goto err;
	r->nr_pages = arg->len_bytes >> PAGE_SHIFT;
	r->coherent = dma_alloc_pages(&s->udev->pdev->dev, arg->len_bytes, &r->dma_addr, r->dir,
				      GFP_KERNEL | __GFP_NOWARN);
	/* It is never an error address, but DMA-API debugging wants to be asked. */
	if (!r->coherent || dma_mapping_error(&s->udev->pdev->dev, r->dma_addr)) {
		ret = -ENOMEM;
		goto err;
	}
	/* Before it has a handle: another thread may guess that, and map it. */
	memset(page_address(r->coherent), 0, arg->len_bytes);
	ret = udrv_region_enter(s, r, &arg->handle);
	if (ret)
		goto err;
	arg->dma_addr = r->dma_addr;
	return 0;

err:
	udrv_region_free(s, r);
	return ret;
}

/* The page frames of a coherent block, 0 if there is none. The session is live. */
unsigned long udrv_dma_pages(struct udrv_session *s, unsigned long handle, unsigned long *pfn)
{
	unsigned long nr_pages = 0;
	struct udrv_region *r;

	rcu_read_lock();
	r = xa_load(&s->regions, handle);
	if (r && r->coherent) {
		*pfn = page_to_pfn(r->coherent);
		nr_pages = r->nr_pages;
	}
	rcu_read_unlock();
	return nr_pages;
}

static enum dma_data_direction udrv_dma_dir(u32 flags)
{
	switch (flags) {
	case UDRV_DMA_TO_DEVICE:
		return DMA_TO_DEVICE;
	case UDRV_DMA_FROM_DEVICE:
		return DMA_FROM_DEVICE;
	default:
		return DMA_BIDIRECTIONAL;
	}
}

/* Pinned and charged, not yet mapped. No lock held. */
static struct udrv_region *udrv_region_pin(struct udrv_session *s,
					   const struct udrv_dma_region *arg)
{
	long nr = arg->len_bytes >> PAGE_SHIFT;
	unsigned int gup = FOLL_LONGTERM;
	struct udrv_region *r;
	long pinned;
	int ret;

	if (arg->flags & ~(UDRV_DMA_TO_DEVICE | UDRV_DMA_FROM_DEVICE) || !nr ||
	    nr > UDRV_MAX_REGION_PAGES || arg->reserved ||
	    !PAGE_ALIGNED(arg->vaddr | arg->len_bytes))
		return ERR_PTR(-EINVAL);
	r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);
	if (!r)
		return ERR_PTR(-ENOMEM);
	r->dir = udrv_dma_dir(arg->flags);
	if (arg->flags & UDRV_DMA_FROM_DEVICE)
		gup |= FOLL_WRITE;
	r->pages = kvmalloc_array(nr, sizeof(*r->pages), GFP_KERNEL_ACCOUNT);
	ret = r->pages ? udrv_charge(s, nr) : -ENOMEM;
	if (ret)
		goto err;
	pinned = pin_user_pages_fast(arg->vaddr, nr, gup, r->pages);
	r->nr_pages = max(pinned, 0L);
	if (pinned < 0)
		ret = pinned;
	else if (pinned != nr)
		ret = -EFAULT;
	if (!ret)
		ret = sg_alloc_table_from_pages_segment(&r->sgt, r->pages, nr, 0, arg->len_bytes,
							UINT_MAX & PAGE_MASK, GFP_KERNEL_ACCOUNT);
	if (!ret)
		return r;
	udrv_charge(s, r->nr_pages - nr);	/* the rest goes with the region */
err:
	udrv_region_free(s, r);
	return ERR_PTR(ret);
}

/* With s->lock held: translate, and enter the region into the session. */
static int udrv_region_map(struct udrv_session *s, struct udrv_region *r, u32 *handle)
{
	struct device *dev = &s->udev->pdev->dev;
	struct iommu_domain *domain;
	struct scatterlist *sg;
	bool direct;
	int i, ret;

	if (s->dead)		/* the device may be another driver's by now */
		return -ENODEV;
	domain = iommu_get_domain_for_dev(dev);
	direct = !domain || !(domain->type & __IOMMU_DOMAIN_PAGING);
	/* Out of the chip's reach: asked before the DMA API, which would warn. */
	for (i = 0; direct && i < r->nr_pages; i++)
		if (page_to_phys(r->pages[i]) > dma_get_mask(dev))
			return -EOPNOTSUPP;
	/* Both sides use it while it is mapped, perhaps more than once: nothing to sync. */
	ret = dma_map_sgtable(dev, &r->sgt, r->dir, DMA_ATTR_SKIP_CPU_SYNC);
	if (ret)
		return ret == -EIO ? -EOPNOTSUPP : ret;
	r->mapped = true;
	/* Bounce buffers would lose writes. An IOMMU needs none for whole pages. */
	for_each_sgtable_dma_sg(&r->sgt, sg, i)
		if (direct && dma_need_sync(dev, sg_dma_address(sg)))
			return -EOPNOTSUPP;
	return udrv_region_enter(s, r, handle);
}

/* Coherent memory goes with the session: it is mapped, and faults look it up. */
static int udrv_region_remove(struct udrv_session *s, u32 handle)
{
	struct udrv_region *r;
	int ret = 0;

	mutex_lock(&s->lock);
	r = s->dead ? NULL : xa_load(&s->regions, handle);
	if (!r || r->coherent) {
		ret = s->dead ? -ENODEV : -ENOENT;
	} else {
		xa_erase(&s->regions, handle);
		atomic_dec(&s->nr_regions);
		udrv_region_unmap(s, r);
	}
	mutex_unlock(&s->lock);
	if (!ret)
		udrv_region_free(s, r);
	return ret;
}

/*
 * The segments go out from a private copy: once the region is in the session,
 * another thread of the driver may unmap it.
 */
static int udrv_region_add(struct udrv_session *s, struct udrv_dma_region *arg)
{
	struct udrv_dma_segment *segs;
	struct udrv_region *r;
	struct scatterlist *sg;
	u32 n = 0;
	int i, ret;

	r = udrv_region_pin(s, arg);
	if (IS_ERR(r))
		return PTR_ERR(r);
	segs = kvmalloc_array(r->sgt.orig_nents, sizeof(*segs), GFP_KERNEL_ACCOUNT);
	mutex_lock(&s->lock);
	ret = segs ? udrv_region_map(s, r, &arg->handle) : -ENOMEM;
	if (!ret)
		for_each_sgtable_dma_sg(&r->sgt, sg, i)
			segs[n++] = (struct udrv_dma_segment){ sg_dma_address(sg), sg_dma_len(sg) };
	else
		udrv_region_unmap(s, r);
	mutex_unlock(&s->lock);
	if (ret)
		udrv_region_free(s, r);
	else if (n > arg->nr_segments)
		ret = -ENOSPC;
	else if (copy_to_user(u64_to_user_ptr(arg->segments), segs, n * sizeof(*segs)))
		ret = -EFAULT;
	if (n && ret)
		udrv_region_remove(s, arg->handle);
	arg->nr_segments = n ?: arg->nr_segments;
	kvfree(segs);
	return ret;
}

int udrv_dma_exchange(struct udrv_session *s, void *arg)
{
	struct udrv_dma_exchange *x = arg;
	struct udrv_dma_region __user *regions = u64_to_user_ptr(x->regions);
	struct udrv_dma_region r;
	int ret = 0;
	u32 i;

	if (!x->nr_regions || x->nr_regions > UDRV_MAX_DMA_BATCH)
		return -EINVAL;
	for (i = 0; i < x->nr_regions; i++) {
		if (copy_from_user(&r, &regions[i], sizeof(r)))
			return i ?: -EFAULT;
		ret = r.flags ? udrv_region_add(s, &r) : udrv_region_remove(s, r.handle);
		if (copy_to_user(&regions[i], &r, sizeof(r)) && !ret && r.flags) {
			udrv_region_remove(s, r.handle);
			ret = -EFAULT;
		}
		if (ret)
			break;
	}
	return i ?: ret;
}

/*
 * The session is dead and the device quiet: nobody else looks at these. If it
 * could not be quieted, the memory is kept: lost, but never overwritten behind
 * the back of its next owner.
 */
void udrv_dma_release_all(struct udrv_session *s, bool quiet)
{
	struct udrv_region *r;
	unsigned long index;

	xa_for_each(&s->regions, index, r)
		if (quiet)
			udrv_region_free(s, r);
	xa_destroy(&s->regions);
}
