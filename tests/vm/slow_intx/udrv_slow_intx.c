// SPDX-License-Identifier: GPL-2.0-only
/*
 * udrv_slow_intx - for tests: while it is loaded, INTx of a device that udrv has is switched
 * off three seconds late. What the device asserts meanwhile, because somebody switched it on
 * before, nobody handles.
 */
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/string.h>

static int udrv_slow_intx_entry(struct kprobe *probe, struct pt_regs *regs)
{
	struct pci_dev *pdev = (struct pci_dev *)regs_get_kernel_argument(regs, 0);

	if (!regs_get_kernel_argument(regs, 1) && !strcmp(dev_driver_string(&pdev->dev), "udrv"))
		mdelay(3000);
	return 0;
}

static struct kprobe udrv_slow_intx_probe = {
	.symbol_name = "pci_intx",
	.pre_handler = udrv_slow_intx_entry,
};

static int __init udrv_slow_intx_init(void)
{
	return register_kprobe(&udrv_slow_intx_probe);
}
module_init(udrv_slow_intx_init);

static void __exit udrv_slow_intx_exit(void)
{
	unregister_kprobe(&udrv_slow_intx_probe);
}
module_exit(udrv_slow_intx_exit);

MODULE_DESCRIPTION("Test: INTx is switched off late");
MODULE_LICENSE("GPL");
