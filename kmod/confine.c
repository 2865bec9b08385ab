// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which devices may be driven from user space: those that an IOMMU confines, and
 * others if whoever administers the machine says so.
 *
 * What an IOMMU tells apart is a group of functions, not a function: those of a
 * group can reach each other's memory, behind the same bridge or by messages that
 * no IOMMU sees. So the rule is VFIO's: all functions of the group are ours,
 * unused, or bridges. It is asked when a device is bound and when it is opened; a
 * neighbour that gets a driver of the kernel's meanwhile ends the session first.
 */
#include <linux/security.h>

#include "udrv_core.h"

static bool allow_unsafe_no_iommu;
module_param(allow_unsafe_no_iommu, bool, 0644);
MODULE_PARM_DESC(allow_unsafe_no_iommu,
		 "Allow devices that no IOMMU confines: their drivers can reach all memory");

/* Bound devices, to find those of a group. */
static LIST_HEAD(udrv_devices);
static DEFINE_MUTEX(udrv_devices_lock);

/* Has the kernel given it a driver that may have memory mapped for it? */
static bool udrv_is_stranger(struct device *dev)
{
	const struct device_driver *driver = READ_ONCE(dev->driver);

	if (!driver || driver == &udrv_driver.driver)
		return false;
	return !dev_is_pci(dev) || to_pci_dev(dev)->hdr_type == PCI_HEADER_TYPE_NORMAL;
}

static int udrv_match_stranger(struct device *dev, void *data)
{
	struct device **stranger = data;

	if (!udrv_is_stranger(dev))
		return 0;
	*stranger = get_device(dev);
	return 1;
}

/* A function of its group that has another driver, with a reference; or NULL. */
static struct device *udrv_find_stranger(struct pci_dev *pdev)
{
	struct iommu_group *group = iommu_group_get(&pdev->dev);
	struct device *stranger = NULL;

	if (!group)
		return NULL;
	iommu_group_for_each_dev(group, &stranger, udrv_match_stranger);
	iommu_group_put(group);
	return stranger;
}

static bool udrv_translated(struct pci_dev *pdev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(&pdev->dev);

	/* Not if the IOMMU forgets mappings late (iommu.strict=1). */
	return domain && domain->type == IOMMU_DOMAIN_DMA;
}

bool udrv_confined(struct pci_dev *pdev)
{
	struct device *stranger;

	/* Nor if the device can write another one's interrupt messages. */
	if (!udrv_translated(pdev) || !msi_device_has_isolated_msi(&pdev->dev))
		return false;
	stranger = udrv_find_stranger(pdev);
	put_device(stranger);
	return !stranger;
}

static void udrv_say_unconfined(struct pci_dev *pdev)
{
	static const char advice[] = "udrv's parameter allow_unsafe_no_iommu allows it";
	struct device *stranger;

	if (!udrv_translated(pdev)) {
		dev_err_ratelimited(&pdev->dev, "refused: no IOMMU confines this device; %s\n",
				    advice);
		return;
	}
	if (!msi_device_has_isolated_msi(&pdev->dev)) {
		dev_err_ratelimited(&pdev->dev, "refused: its interrupts are not remapped; %s\n",
				    advice);
		return;
	}
	stranger = udrv_find_stranger(pdev);
	if (stranger)
		dev_err_ratelimited(&pdev->dev,
				    "refused: %s in its IOMMU group has the driver %s; unbind that first, or %s\n",
				    dev_name(stranger), dev_driver_string(stranger), advice);
	put_device(stranger);
}

/* 0 if the device may be bound and opened, or -EPERM. */
int udrv_may_drive(struct pci_dev *pdev)
{
	if (udrv_confined(pdev))
		return 0;
	if (!READ_ONCE(allow_unsafe_no_iommu)) {
		udrv_say_unconfined(pdev);
		return -EPERM;
	}
	return security_locked_down(LOCKDOWN_PCI_ACCESS);
}

/* The same for a process. With udev->lock held, see udrv_neighbour_bound(). */
int udrv_may_open(struct pci_dev *pdev)
{
	int ret = udrv_may_drive(pdev);

	if (ret)
		return ret;
	return udrv_confined(pdev) || capable(CAP_SYS_RAWIO) ? 0 : -EPERM;
}

/* ---- A neighbour gets a driver -------------------------------------------- */

void udrv_devices_add(struct udrv_device *udev)
{
	mutex_lock(&udrv_devices_lock);
	list_add(&udev->list, &udrv_devices);
	mutex_unlock(&udrv_devices_lock);
}

void udrv_devices_remove(struct udrv_device *udev)
{
	mutex_lock(&udrv_devices_lock);
	list_del(&udev->list);
	mutex_unlock(&udrv_devices_lock);
}

/* A session on a device of this group, with a reference; or NULL. */
static struct udrv_session *udrv_session_in(struct iommu_group *group)
{
	struct udrv_session *s = NULL;
	struct udrv_device *udev;
	struct iommu_group *its;

	mutex_lock(&udrv_devices_lock);
	list_for_each_entry(udev, &udrv_devices, list) {
		its = iommu_group_get(&udev->pdev->dev);
		iommu_group_put(its);
		if (its == group)
			s = udrv_device_session(udev);
		if (s)
			break;
	}
	mutex_unlock(&udrv_devices_lock);
	return s;
}

/*
 * The driver is set and not probed yet: it begins once no device beside it is driven
 * by a process. An open that did not see the driver in the group has its session in
 * place by the time that we look (both under udev->lock).
 */
static int udrv_neighbour_bound(struct notifier_block *nb, unsigned long action, void *data)
{
	struct device *dev = data;
	struct iommu_group *group;
	struct udrv_session *s;

	if (action != BUS_NOTIFY_BIND_DRIVER || !udrv_is_stranger(dev) ||
	    READ_ONCE(allow_unsafe_no_iommu))
		return NOTIFY_DONE;
	group = iommu_group_get(dev);
	if (!group)
		return NOTIFY_DONE;
	while ((s = udrv_session_in(group))) {
		pci_warn(s->udev->pdev, "%s in its IOMMU group gets the driver %s; session ended\n",
			 dev_name(dev), dev_driver_string(dev));
		udrv_session_end(s, "neighbour");
		udrv_session_put(s);
	}
	iommu_group_put(group);
	return NOTIFY_OK;
}

static struct notifier_block udrv_neighbours = {
	.notifier_call = udrv_neighbour_bound,
};

int udrv_confine_init(void)
{
	return bus_register_notifier(&pci_bus_type, &udrv_neighbours);
}

void udrv_confine_exit(void)
{
	bus_unregister_notifier(&pci_bus_type, &udrv_neighbours);
}
