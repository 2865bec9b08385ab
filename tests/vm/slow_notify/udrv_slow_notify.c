// SPDX-License-Identifier: GPL-2.0-only
/*
 * udrv_slow_notify - for tests: while it is loaded, what udrv says in sysfs takes a third of
 * a second. It is the last that the end of a session does; who frees the device meanwhile
 * is found.
 */
#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/string.h>

static int udrv_slow_notify_entry(struct kprobe *probe, struct pt_regs *regs)
{
	const char *group = (const char *)regs_get_kernel_argument(regs, 1);

	if (group && !strcmp(group, "udrv"))
		mdelay(300);
	return 0;
}

static struct kprobe udrv_slow_notify_probe = {
	.symbol_name = "sysfs_notify",
	.pre_handler = udrv_slow_notify_entry,
};

static int __init udrv_slow_notify_init(void)
{
	return register_kprobe(&udrv_slow_notify_probe);
}
module_init(udrv_slow_notify_init);

static void __exit udrv_slow_notify_exit(void)
{
	unregister_kprobe(&udrv_slow_notify_probe);
}
module_exit(udrv_slow_notify_exit);

MODULE_DESCRIPTION("Test: sysfs_notify() that takes its time");
MODULE_LICENSE("GPL");
