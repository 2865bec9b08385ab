// SPDX-License-Identifier: GPL-2.0-only
/*
 * udrv_unquiet - for tests: while it is loaded, no PCI device ever finishes its
 * transactions. Emulated ones always do, so that the end of a session with a device
 * that cannot be quieted would be seen on real hardware only.
 */
#include <linux/kprobes.h>
#include <linux/module.h>

static int udrv_unquiet_return(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	regs_set_return_value(regs, 0);
	return 0;
}

static struct kretprobe udrv_unquiet_probe = {
	.kp.symbol_name = "pci_wait_for_pending_transaction",
	.handler = udrv_unquiet_return,
};

static int __init udrv_unquiet_init(void)
{
	return register_kretprobe(&udrv_unquiet_probe);
}
module_init(udrv_unquiet_init);

static void __exit udrv_unquiet_exit(void)
{
	unregister_kretprobe(&udrv_unquiet_probe);
}
module_exit(udrv_unquiet_exit);

MODULE_DESCRIPTION("Test: PCI transactions that never finish");
MODULE_LICENSE("GPL");
