// SPDX-License-Identifier: GPL-2.0-only
/*
 * udrv - device drivers as user processes: binding a PCI function.
 *
 * Bind by driver_override, as with vfio-pci:
 *
 *   modprobe udrv
 *   echo udrv > /sys/bus/pci/devices/0000:00:10.0/driver_override
 *   echo 0000:00:10.0 > /sys/bus/pci/devices/0000:00:10.0/driver/unbind
 *   echo 0000:00:10.0 > /sys/bus/pci/drivers_probe
 *   ls -l /dev/udrv/0000:00:10.0
 */
#include "udrv_core.h"
#include "udrv_version.h"

/* ---- sysfs: /sys/bus/pci/devices/<bdf>/udrv/ ------------------------------ */

/* An attribute that prints `expr`, which may look at udev and s (NULL: no session). */
#define UDRV_ATTR(_mode, _name, fmt, expr)					\
static ssize_t _name##_show(struct device *dev, struct device_attribute *attr,	\
			    char *buf)						\
{										\
	struct udrv_device *udev = dev_get_drvdata(dev);			\
	struct udrv_session *s __maybe_unused;					\
	ssize_t len;								\
										\
	mutex_lock(&udev->lock);							\
	s = udev->session;							\
	len = sysfs_emit(buf, fmt "\n", expr);					\
	mutex_unlock(&udev->lock);						\
	return len;								\
}										\
static DEVICE_ATTR_##_mode(_name)

static const char *udrv_state(const struct udrv_device *udev, const struct udrv_session *s)
{
	if (s && test_bit(UDRV_SESSION_ENDING, &s->flags))
		return "ending";
	if (udev->closed)
		return "closed";
	if (!s)
		return "idle";
	return READ_ONCE(s->port) ? "running" : "open";
}

UDRV_ATTR(RO, state, "%s", udrv_state(udev, s));
UDRV_ATTR(RO, owner, "%d", s ? s->pid : 0);
UDRV_ATTR(RO, driver, "%s", s ? s->comm : "");
UDRV_ATTR(RO, pinned_bytes, "%ld", s ? atomic_long_read(&s->pinned_bytes) : 0L);
UDRV_ATTR(RO, interrupts, "%ld", atomic_long_read(&udev->interrupts));
UDRV_ATTR(RO, violations, "%ld", atomic_long_read(&udev->violations));
UDRV_ATTR(RO, mappings, "%d", s ? atomic_read(&s->nr_regions) : 0);

/* Looks at the whole IOMMU group. */
static ssize_t iommu_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", udrv_confined(to_pci_dev(dev)));
}
static DEVICE_ATTR_RO(iommu);

/*
 * Written before a driver starts: what it hands up is copied first, and an IOMMU
 * shows the device no neighbours of what it may read or write: the DMA API bounces
 * the unaligned ends of buffers of an untrusted device, wherever they come from.
 */
static ssize_t untrusted_store(struct device *dev, struct device_attribute *attr, const char *buf,
			       size_t len)
{
	struct udrv_device *udev = dev_get_drvdata(dev);
	bool untrusted;
	int ret = kstrtobool(buf, &untrusted);

	mutex_lock(&udev->lock);
	if (!ret && udev->session)
		ret = -EBUSY;
	if (!ret)
		udev->pdev->untrusted = untrusted;
	mutex_unlock(&udev->lock);
	return ret ?: (ssize_t)len;
}
UDRV_ATTR(RW, untrusted, "%d", udev->pdev->untrusted);

static struct attribute *udrv_attrs[] = {
	&dev_attr_state.attr,
	&dev_attr_owner.attr,
	&dev_attr_driver.attr,
	&dev_attr_pinned_bytes.attr,
	&dev_attr_interrupts.attr,
	&dev_attr_violations.attr,
	&dev_attr_mappings.attr,
	&dev_attr_iommu.attr,
	&dev_attr_untrusted.attr,
	NULL
};

static const struct attribute_group udrv_group = {
	.name = "udrv",
	.attrs = udrv_attrs,
};

static const struct attribute_group *udrv_groups[] = { &udrv_group, NULL };

/* ---- Binding -------------------------------------------------------------- */

struct udrv_device *udrv_device_get(struct udrv_device *udev)
{
	kref_get(&udev->ref);
	return udev;
}

static void udrv_device_free(struct kref *ref)
{
	struct udrv_device *udev = container_of(ref, struct udrv_device, ref);

	pci_dev_put(udev->pdev);
	kfree(udev->config);
	kfree(udev->misc.name);
	kfree(udev->misc.nodename);
	kfree(udev);
}

void udrv_device_put(struct udrv_device *udev)
{
	kref_put(&udev->ref, udrv_device_free);
}

static struct udrv_device *udrv_device_alloc(struct pci_dev *pdev)
{
	struct udrv_device *udev;

	udev = kzalloc(sizeof(*udev), GFP_KERNEL);
	if (!udev)
		return NULL;
	kref_init(&udev->ref);
	mutex_init(&udev->lock);
	INIT_LIST_HEAD(&udev->margins);
	udev->pdev = pci_dev_get(pdev);
	udev->was_untrusted = pdev->untrusted;
	udev->reopened = jiffies;
	udev->misc = (struct miscdevice){
		.minor = MISC_DYNAMIC_MINOR,
		.fops = &udrv_session_fops,
		.name = kasprintf(GFP_KERNEL, "udrv-%s", pci_name(pdev)),
		.nodename = kasprintf(GFP_KERNEL, "udrv/%s", pci_name(pdev)),
		.mode = 0600,
		.parent = &pdev->dev,
	};
	if (udev->misc.name && udev->misc.nodename)
		return udev;
	udrv_device_put(udev);
	return NULL;
}

/* As the PCI core made it: the next driver may rely on that. */
static void udrv_dma_reset(struct pci_dev *pdev)
{
	dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(32));
	dma_set_max_seg_size(&pdev->dev, SZ_64K);
	dma_set_seg_boundary(&pdev->dev, U32_MAX);
	dma_set_min_align_mask(&pdev->dev, 0);
}

/*
 * INTx is off but where a session has it. The core would switch it on whenever MSI goes
 * off, at the end of each session, while the chip still works and nobody handles what it
 * asserts: a line that others share would be taken out of use. It leaves alone the INTx
 * of chips that need it for MSI, too, and those are not masked here.
 */
static void udrv_intx_off(struct udrv_device *udev)
{
	struct pci_dev *pdev = udev->pdev;

	if (!pdev->pin || (pdev->dev_flags & PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG))
		return;
	udev->intx_maskable = pci_intx_mask_supported(pdev);
	if (!udev->intx_maskable)
		return;
	pci_intx(pdev, 0);
	pdev->dev_flags |= PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG;
}

static void udrv_intx_give_back(struct udrv_device *udev)
{
	if (udev->intx_maskable)
		udev->pdev->dev_flags &= ~PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG;
}

static int udrv_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct udrv_device *udev;
	int ret;

	if (!dev_is_dma_coherent(&pdev->dev))
		return dev_err_probe(&pdev->dev, -EOPNOTSUPP, "its DMA passes by the caches\n");
	ret = udrv_may_drive(pdev);
	if (ret)
		return ret;
	udev = udrv_device_alloc(pdev);
	if (!udev)
		return -ENOMEM;
	pci_set_drvdata(pdev, udev);
	ret = pci_enable_device(pdev);	/* not managed: pci_intx() must not sleep */
	if (ret)
		goto err_put;
	pci_clear_master(pdev);
	udrv_intx_off(udev);
	ret = pci_request_regions(pdev, "udrv");
	if (ret)
		goto err_disable;
	udrv_bars_hold(udev);
	dma_set_max_seg_size(&pdev->dev, UINT_MAX & PAGE_MASK);
	if (!udrv_confined(pdev)) {
		pci_warn(pdev, "no IOMMU confines this device: its driver can make it read and write all memory\n");
		add_taint(TAINT_USER, LOCKDEP_STILL_OK);
	}

	pci_save_state(pdev);
	udev->config = pci_store_saved_state(pdev);	/* what an error's slot reset restores */
	if (!udev->config) {
		ret = -ENOMEM;
		goto err_release;
	}
	udrv_devices_add(udev);
	ret = misc_register(&udev->misc);
	if (!ret)
		return 0;
	udrv_devices_remove(udev);
err_release:
	udrv_dma_reset(pdev);
	udrv_bars_release(udev);
	pci_release_regions(pdev);
err_disable:
	udrv_intx_give_back(udev);
	pci_disable_device(pdev);
err_put:
	udrv_device_put(udev);
	return ret;
}

/* Called with the device locked, by unbind, rmmod and hot-unplug alike. */
static void udrv_remove(struct pci_dev *pdev)
{
	struct udrv_device *udev = pci_get_drvdata(pdev);

	mutex_lock(&udev->lock);
	udev->removed = true;			/* no session begins from here on */
	mutex_unlock(&udev->lock);
	misc_deregister(&udev->misc);
	udrv_device_end_session(udev, "unbind");
	udrv_device_pay_reset(udev);
	udrv_devices_remove(udev);

	if (udev->port) {
		struct module *owner = udev->port->type->owner;

		udev->port->type->remove(udev->port);
		module_put(owner);
	}
	pdev->untrusted = udev->was_untrusted;
	udrv_dma_reset(pdev);
	udrv_intx_give_back(udev);
	/* INTx stays off till the next driver enables the device: the chip may assert it. */
	udrv_bars_release(udev);
	pci_release_regions(pdev);
	pci_disable_device(pdev);
	udrv_device_put(udev);
}

/* No ids: by driver_override only. */
struct pci_driver udrv_driver = {
	.name = "udrv",
	.dev_groups = udrv_groups,
	.probe = udrv_probe,
	.remove = udrv_remove,
	.shutdown = udrv_shutdown,
	.err_handler = &udrv_error_handlers,
	.driver.pm = pm_sleep_ptr(&udrv_pm_ops),
};

static int __init udrv_init(void)
{
	int ret;

	udrv_wq = alloc_workqueue("udrv", WQ_MEM_RECLAIM | WQ_UNBOUND | WQ_HIGHPRI, 0);
	if (!udrv_wq)
		return -ENOMEM;
	ret = udrv_confine_init();
	if (ret)
		goto err_queue;
	ret = pci_register_driver(&udrv_driver);
	if (!ret)
		return 0;
	udrv_confine_exit();
err_queue:
	destroy_workqueue(udrv_wq);
	return ret;
}
module_init(udrv_init);

static void __exit udrv_exit(void)
{
	pci_unregister_driver(&udrv_driver);
	udrv_confine_exit();
	destroy_workqueue(udrv_wq);	/* a worker may be in its last lines */
}
module_exit(udrv_exit);

MODULE_DESCRIPTION("Device drivers as user processes: interrupts, DMA, registers");
MODULE_LICENSE("GPL");
MODULE_VERSION(UDRV_VERSION);
