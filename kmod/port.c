// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ports: the modules that make a network interface or disks of a device, and
 * attaching a session to them.
 */
#include "udrv_core.h"

static struct udrv_port_type *udrv_types[UDRV_NR_PORT_KINDS];
static DEFINE_MUTEX(udrv_types_lock);

/* Also takes one out: (kind, NULL). No port of the kind is left then, see below. */
void udrv_port_type_set(u32 kind, struct udrv_port_type *type)
{
	mutex_lock(&udrv_types_lock);
	udrv_types[kind] = type;
	mutex_unlock(&udrv_types_lock);
}
EXPORT_SYMBOL_GPL(udrv_port_type_set);

/* The type with a reference to its module, which every port keeps; or NULL. */
static struct udrv_port_type *udrv_port_type_get(u32 kind)
{
	struct udrv_port_type *type;

	mutex_lock(&udrv_types_lock);
	type = kind < UDRV_NR_PORT_KINDS ?
	       udrv_types[array_index_nospec(kind, UDRV_NR_PORT_KINDS)] : NULL;
	if (type && !try_module_get(type->owner))
		type = NULL;
	mutex_unlock(&udrv_types_lock);
	return type;
}

int udrv_attach(struct udrv_session *s, void *argp)
{
	struct udrv_attach *attach = argp;
	void __user *uarg = u64_to_user_ptr(attach->arg);
	struct udrv_device *udev = s->udev;
	struct udrv_port *port;
	struct udrv_port_type *type;
	unsigned int vector;
	long size;
	void *arg;
	int ret;

	type = udrv_port_type_get(attach->kind);
	if (!type)
		return -EPROTONOSUPPORT;
	ret = -ENOMEM;
	arg = kzalloc(type->arg_bytes, GFP_KERNEL_ACCOUNT);
	if (!arg)
		goto out;
	size = udrv_copy_struct(arg, type->arg_bytes, type->arg_least, uarg);
	ret = min(size, 0L);
	if (ret)
		goto out;
	mutex_lock(&s->lock);
	/* A port of another kind stays until unbind. */
	if (s->dead)
		port = ERR_PTR(-ENODEV);
	else if (s->port || (udev->port && udev->port->type != type))
		port = ERR_PTR(-EBUSY);
	else
		port = type->attach(s, udev->port, arg);
	ret = PTR_ERR_OR_ZERO(port);
	if (!ret) {
		if (!udev->port)
			__module_get(type->owner);	/* as long as the port is there */
		udev->port = port;
		port->type = type;
		smp_store_release(&s->port, port);	/* what it has first */
		for_each_set_bit(vector, &port->vectors, s->nr_irqs)
			rcu_assign_pointer(s->irqs[vector].port, port);
	}
	mutex_unlock(&s->lock);
	if (!ret && copy_to_user(uarg, arg, min_t(u32, size, type->arg_bytes)))
		ret = -EFAULT;
out:
	kfree(arg);
	module_put(type->owner);
	return ret;
}
