// SPDX-License-Identifier: GPL-2.0-only
/*
 * Suspend, hibernation, shutdown, resets and bus errors end the session as the
 * death of its process does: ports keep what they have, and the next driver finds
 * a chip that has forgotten everything, as any driver does at its start. Until the
 * device is back nobody can open it.
 *
 * Freezing comes before that, and must not include the driver: whoever reads our
 * disk can be frozen only when the read is done. So a process that has a session is
 * not frozen; it serves until its device is suspended.
 */
#include <linux/freezer.h>
#include <linux/pm.h>

#include "udrv_core.h"

/*
 * Of the calling thread, if it is one of the session's owner: to be called wherever
 * such a thread comes by. (Only a thread itself may change its flags.) After the end
 * of its session it is frozen with the others, late as it is.
 */
void udrv_set_freezable(struct udrv_session *s)
{
	if (current->mm != s->mn.mm)
		return;
	if (!READ_ONCE(s->dead)) {
		current->flags |= PF_NOFREEZE;
	} else if (current->flags & PF_NOFREEZE) {
		current->flags &= ~PF_NOFREEZE;
		if (freezing(current))	/* as it leaves the kernel, as the freezer does it */
			set_thread_flag(TIF_SIGPENDING);
	}
}

/*
 * No reset takes as long. A recovery of the bus that fails ends without a word to us;
 * those who wait for the disk get their errors all the same.
 */
#define UDRV_CLOSED_S	120

/* No session is left when this returns, and none begins. With the device lock held. */
static void udrv_device_close(struct udrv_device *udev, const char *cause)
{
	mutex_lock(&udev->lock);
	if (!udev->closed)
		WRITE_ONCE(udev->closed_at, jiffies);
	smp_store_release(&udev->closed, true);	/* closed_at first */
	mutex_unlock(&udev->lock);
	udrv_device_end_session(udev, cause);
}

/* The device is as it was when it was bound. */
static void udrv_device_reopen(struct udrv_device *udev)
{
	pci_clear_master(udev->pdev);
	if (udev->intx_maskable)
		pci_intx(udev->pdev, 0);
	mutex_lock(&udev->lock);
	WRITE_ONCE(udev->reopened, jiffies);
	smp_store_release(&udev->closed, false);	/* reopened first */
	sysfs_notify(&udev->pdev->dev.kobj, "udrv", "state");	/* for those who wait to open it */
	mutex_unlock(&udev->lock);
}

unsigned long udrv_wait_longer(struct udrv_device *udev, unsigned long window)
{
	unsigned long end, now = jiffies;

	if (smp_load_acquire(&udev->closed)) {	/* closed_at, reopened */
		end = READ_ONCE(udev->closed_at) + UDRV_CLOSED_S * HZ;
		return time_before(now, end) ? window : 0;
	}
	end = READ_ONCE(udev->reopened) + window;
	return time_before(now, end) ? end - now : 0;
}
EXPORT_SYMBOL_GPL(udrv_wait_longer);

/* ---- Sleep ---------------------------------------------------------------- */

/*
 * Power may go. Before the session ends its driver can flush, and nobody else. With the
 * device lock held.
 */
static void udrv_device_power_down(struct udrv_device *udev)
{
	struct udrv_session *s = udrv_device_session(udev);
	struct udrv_port *port;

	if (s) {
		port = READ_ONCE(s->port);	/* stays until unbind, which waits for the lock */
		if (port && port->type->settle)
			port->type->settle(port, s);
		udrv_session_put(s);
	}
	udrv_device_close(udev, "power");
}

static int udrv_suspend(struct device *dev)
{
	udrv_device_power_down(dev_get_drvdata(dev));
	return 0;
}

static int udrv_resume(struct device *dev)
{
	udrv_device_reopen(dev_get_drvdata(dev));
	return 0;
}

/* The same for hibernation: freeze, thaw, poweroff, restore. */
DEFINE_SIMPLE_DEV_PM_OPS(udrv_pm_ops, udrv_suspend, udrv_resume);

/* Power off, reboot, kexec. Processes still run. */
void udrv_shutdown(struct pci_dev *pdev)
{
	udrv_device_power_down(pci_get_drvdata(pdev));
}

/* ---- Resets and errors ---------------------------------------------------- */

/* The end of a session resets the function, too: that is none of our business here. */
static bool udrv_is_own_reset(struct udrv_device *udev)
{
	return READ_ONCE(udev->resetter) == current;
}

static void udrv_reset_prepare(struct pci_dev *pdev)
{
	struct udrv_device *udev = pci_get_drvdata(pdev);

	if (!udrv_is_own_reset(udev))
		udrv_device_close(udev, "reset");
}

static void udrv_reset_done(struct pci_dev *pdev)
{
	struct udrv_device *udev = pci_get_drvdata(pdev);

	if (!udrv_is_own_reset(udev))
		udrv_device_reopen(udev);
}

static pci_ers_result_t udrv_error_detected(struct pci_dev *pdev, pci_channel_state_t state)
{
	pci_warn(pdev, "bus error: session ended; if it cannot be opened later, unbind and bind it\n");
	udrv_device_close(pci_get_drvdata(pdev), "error");
	if (state == pci_channel_io_perm_failure)
		return PCI_ERS_RESULT_DISCONNECT;
	return PCI_ERS_RESULT_NEED_RESET;
}

/*
 * Configuration space as it was when the device was bound. A copy of our own: each
 * reset at a session's end uses up the one of the PCI core.
 */
static pci_ers_result_t udrv_slot_reset(struct pci_dev *pdev)
{
	struct udrv_device *udev = pci_get_drvdata(pdev);

	if (pci_load_saved_state(pdev, udev->config))
		return PCI_ERS_RESULT_DISCONNECT;
	pci_restore_state(pdev);
	return PCI_ERS_RESULT_RECOVERED;
}

static void udrv_error_resume(struct pci_dev *pdev)
{
	udrv_device_reopen(pci_get_drvdata(pdev));
}

const struct pci_error_handlers udrv_error_handlers = {
	.error_detected = udrv_error_detected,
	.slot_reset = udrv_slot_reset,
	.resume = udrv_error_resume,
	.reset_prepare = udrv_reset_prepare,
	.reset_done = udrv_reset_done,
};
