// SPDX-License-Identifier: GPL-2.0-only
/*
 * udrv_nopad - for tests: while it is loaded, every third short packet of an interface
 * "udn" cannot be padded, as if there were no memory.
 */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/string.h>

static atomic_t udrv_nopad_calls;

/* Whose packet it is; kept until the function returns. */
static int udrv_nopad_entry(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct sk_buff *skb = (struct sk_buff *)regs_get_kernel_argument(regs, 0);
	struct sk_buff **ours = (struct sk_buff **)instance->data;

	*ours = NULL;
	if (skb->dev && strstarts(skb->dev->name, "udn"))
		*ours = skb;
	return 0;
}

static int udrv_nopad_return(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct sk_buff **ours = (struct sk_buff **)instance->data;

	if (!*ours || regs_return_value(regs))
		return 0;
	if (atomic_inc_return(&udrv_nopad_calls) % 3)
		return 0;
	kfree_skb(*ours);	/* as __skb_pad() does when it fails */
	regs_set_return_value(regs, -ENOMEM);
	return 0;
}

static struct kretprobe udrv_nopad_probe = {
	.kp.symbol_name = "__skb_pad",
	.entry_handler = udrv_nopad_entry,
	.handler = udrv_nopad_return,
	.data_size = sizeof(struct sk_buff *),
	.maxactive = 64,
};

static int __init udrv_nopad_init(void)
{
	return register_kretprobe(&udrv_nopad_probe);
}
module_init(udrv_nopad_init);

static void __exit udrv_nopad_exit(void)
{
	unregister_kretprobe(&udrv_nopad_probe);
}
module_exit(udrv_nopad_exit);

MODULE_DESCRIPTION("Test: short packets without memory for their padding");
MODULE_LICENSE("GPL");
