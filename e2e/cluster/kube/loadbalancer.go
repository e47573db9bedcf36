package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	slicelisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// routeProtocol marks our routes, for who clears up after a killed load balancer.
const routeProtocol = "177"

// loadBalancer gives each Service of type LoadBalancer an address of its own out of a range that is
// already routed to the cluster's first node. A Service that keeps clients' addresses
// (externalTrafficPolicy: Local) is routed to a node that has an endpoint of it.
type loadBalancer struct {
	client   kubernetes.Interface
	services listers.ServiceLister
	slices   slicelisters.EndpointSliceLister
	nodes    listers.NodeLister
	pool     netip.Prefix
	routed   map[netip.Addr]string
	// What was given to a Service whose status, as it is known here, does not say so yet.
	given map[types.UID]netip.Addr
	last  netip.Addr
}

func loadBalancerCommand() *cobra.Command {
	var kubeconfig, pool string
	command := &cobra.Command{Use: "load-balancer", SilenceUsage: true, RunE: func(*cobra.Command, []string) error {
		return serveLoadBalancer(kubeconfig, pool)
	}}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "how to reach the API server")
	command.Flags().StringVar(&pool, "range", "", "the addresses to give, as a prefix")
	return command
}

func serveLoadBalancer(kubeconfig, pool string) error {
	prefix, err := netip.ParsePrefix(pool)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 500, 1000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	// Informers wait longer after each failure; a server that just starts is asked more often.
	for client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	balancer := &loadBalancer{
		client:   client,
		services: factory.Core().V1().Services().Lister(),
		slices:   factory.Discovery().V1().EndpointSlices().Lister(),
		nodes:    factory.Core().V1().Nodes().Lister(),
		pool:     prefix,
		routed:   map[netip.Addr]string{},
		given:    map[types.UID]netip.Addr{},
		last:     prefix.Masked().Addr(),
	}
	changed := make(chan struct{}, 1)
	wake := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { wake() },
		UpdateFunc: func(any, any) { wake() },
		DeleteFunc: func(any) { wake() },
	}
	for _, informer := range []cache.SharedIndexInformer{
		factory.Core().V1().Services().Informer(),
		factory.Discovery().V1().EndpointSlices().Informer(),
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	factory.Core().V1().Nodes().Informer()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	for {
		select {
		case <-ctx.Done():
			// Where it runs beside the nodes, its routes would outlive it.
			return balancer.unroute(nil)
		case <-changed:
			if err := balancer.reconcile(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				time.AfterFunc(100*time.Millisecond, wake)
			}
		}
	}
}

// reconcile looks at all services: there are hundreds at most, and nothing to go stale.
func (b *loadBalancer) reconcile() error {
	services, err := b.services.List(labels.Everything())
	if err != nil {
		return err
	}
	// The oldest first, so that an address that two of them ask for is given in a defined way.
	slices.SortFunc(services, func(x, y *core.Service) int {
		return x.CreationTimestamp.Compare(y.CreationTimestamp.Time)
	})
	taken := b.taken(services)
	for _, service := range services {
		if err := b.reconcileService(service, taken); err != nil {
			return fmt.Errorf("service %s/%s: %w", service.Namespace, service.Name, err)
		}
	}
	return b.unroute(taken)
}

// taken is every address that somebody has. The informer tells late of what was written here, and by then
// an address that was given could have been given twice.
func (b *loadBalancer) taken(services []*core.Service) map[netip.Addr]bool {
	taken, given := map[netip.Addr]bool{}, map[types.UID]netip.Addr{}
	for _, service := range services {
		if !balanced(service) {
			continue
		}
		if address, known := addressOf(service); known {
			taken[address] = true
		} else if address, known := b.given[service.UID]; known {
			taken[address] = true
			given[service.UID] = address
		}
	}
	b.given = given
	return taken
}

func (b *loadBalancer) reconcileService(service *core.Service, taken map[netip.Addr]bool) error {
	address, given := addressOf(service)
	switch {
	case balanced(service) && !given:
		if _, waits := b.given[service.UID]; waits {
			return nil
		}
		address, found := b.choose(service, taken)
		if !found {
			return nil
		}
		if err := b.write(service, core.LoadBalancerIngress{IP: address.String()}); err != nil {
			return err
		}
		taken[address] = true
		b.given[service.UID] = address
		return b.route(service, address)
	case balanced(service):
		return b.route(service, address)
	case given:
		return b.write(service)
	}
	return nil
}

func balanced(service *core.Service) bool {
	return service.Spec.Type == core.ServiceTypeLoadBalancer && service.Spec.LoadBalancerClass == nil &&
		service.DeletionTimestamp == nil
}

func addressOf(service *core.Service) (netip.Addr, bool) {
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		if address, err := netip.ParseAddr(ingress.IP); err == nil {
			return address, true
		}
	}
	return netip.Addr{}, false
}

// choose takes the address that is asked for, when it is of the range and free, and else the next free one
// after the last: nodes may still send to where an address went that was free only now.
func (b *loadBalancer) choose(service *core.Service, taken map[netip.Addr]bool) (netip.Addr, bool) {
	if asked := service.Spec.LoadBalancerIP; asked != "" {
		address, err := netip.ParseAddr(asked)
		return address, err == nil && b.pool.Contains(address) && !taken[address]
	}
	first := b.pool.Masked().Addr()
	address := b.last
	for range 1 << (first.BitLen() - b.pool.Bits()) {
		if address = address.Next(); !b.pool.Contains(address) {
			address = first.Next()
		}
		if !taken[address] {
			b.last = address
			return address, true
		}
	}
	return netip.Addr{}, false
}

func (b *loadBalancer) write(service *core.Service, ingress ...core.LoadBalancerIngress) error {
	changed := service.DeepCopy()
	changed.Status.LoadBalancer.Ingress = ingress
	_, err := b.client.CoreV1().Services(service.Namespace).UpdateStatus(
		context.Background(), changed, meta.UpdateOptions{})
	return err
}

// route sends the address to a node with an endpoint, where the range's own route would not do.
func (b *loadBalancer) route(service *core.Service, address netip.Addr) error {
	via := ""
	if service.Spec.ExternalTrafficPolicy == core.ServiceExternalTrafficPolicyLocal {
		var err error
		if via, err = b.nodeServing(service); err != nil {
			return err
		}
	}
	if b.routed[address] == via {
		return nil
	}
	arguments := []string{"route", "replace", address.String(), "via", via, "proto", routeProtocol}
	if via == "" {
		arguments = []string{"route", "del", address.String()}
	}
	if output, err := exec.Command("ip", arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", arguments, err, output)
	}
	if via == "" {
		delete(b.routed, address)
	} else {
		b.routed[address] = via
	}
	return nil
}

// unroute removes the routes of addresses that are not taken.
func (b *loadBalancer) unroute(taken map[netip.Addr]bool) error {
	var failures []error
	for address := range b.routed {
		if taken[address] {
			continue
		}
		if output, err := exec.Command("ip", "route", "del", address.String()).CombinedOutput(); err != nil {
			failures = append(failures, fmt.Errorf("route to %v: %w: %s", address, err, output))
			continue
		}
		delete(b.routed, address)
	}
	return errors.Join(failures...)
}

// nodeServing is the address of the first node, by name, with a ready endpoint; empty when none has one.
func (b *loadBalancer) nodeServing(service *core.Service) (string, error) {
	selector := labels.SelectorFromSet(labels.Set{discovery.LabelServiceName: service.Name})
	found, err := b.slices.EndpointSlices(service.Namespace).List(selector)
	if err != nil {
		return "", err
	}
	names := []string{}
	for _, slice := range found {
		for _, endpoint := range slice.Endpoints {
			ready := endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
			if ready && endpoint.NodeName != nil {
				names = append(names, *endpoint.NodeName)
			}
		}
	}
	if len(names) == 0 {
		return "", nil
	}
	node, err := b.nodes.Get(slices.Min(names))
	if err != nil {
		return "", err
	}
	for _, address := range node.Status.Addresses {
		if address.Type == core.NodeInternalIP {
			return address.Address, nil
		}
	}
	return "", nil
}
