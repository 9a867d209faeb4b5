//! The virtual machine that the module runs in.

use wasmtime::{Instance, Linker, Store, TypedFunc, WasmParams, WasmResults};

use crate::host::{Callback, Host};
use crate::module::Module;
use crate::worker::Refused;
use crate::{abi, wasi};

/// Wasmtime uses about one unit for each instruction. Nothing here uses up all of it.
const FUEL: u64 = u64::MAX;

/// The instantiated module.
pub(crate) struct Vm {
    pub(crate) store: Store<Host>,
    instance: Instance,
}

impl Vm {
    /// Starts the module with all its configurations.
    pub(crate) fn start(module: &'static Module, host: Host) -> Result<Vm, Refused> {
        let profile = host.setup.profile;
        let refused = |what: &str, error: wasmtime::Error| Refused(format!("{what}: {error:?}"));
        let mut linker = Linker::new(&module.engine);
        abi::link(&mut linker, profile).map_err(|error| refused("linking", error))?;
        wasi::link(&mut linker).map_err(|error| refused("linking", error))?;
        linker
            .define_unknown_imports_as_traps(&module.compiled)
            .map_err(|error| refused("linking", error))?;
        let mut store = Store::new(&module.engine, host);
        store.set_fuel(FUEL).map_err(|error| refused("fuelling", error))?;
        let instance = linker
            .instantiate(&mut store, &module.compiled)
            .map_err(|error| refused("instantiating", error))?;
        let memory = instance.get_memory(&mut store, "memory");
        let allocate = instance.get_typed_func(&mut store, "proxy_on_memory_allocate").ok();
        (store.data_mut().memory, store.data_mut().allocate) = (memory, allocate);
        let mut vm = Vm { store, instance };
        let start = |vm: &mut Vm| -> wasmtime::Result<bool> {
            let first = vm.store.data().setup.first_root;
            vm.call::<_, ()>(Callback::Start, first, "_initialize", ())?;
            for root in vm.store.data().roots() {
                vm.call::<_, ()>(Callback::Start, root, "proxy_on_context_create", (root, 0))?;
                let starts = vm.call::<_, u32>(Callback::Start, root, "proxy_on_vm_start", (root, 0))? != 0;
                let size = vm.size_of_configuration(root);
                let arguments = (root, size);
                if !starts
                    || vm.call::<_, u32>(Callback::Configure, root, "proxy_on_configure", arguments)? == 0
                {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        match start(&mut vm) {
            Ok(true) => Ok(vm),
            Ok(false) => Err(Refused("the filter refuses its configuration".to_owned())),
            Err(error) => Err(refused("starting", error)),
        }
    }

    /// Instructions that the module has run, as wasmtime counts them: the cheapest ones are free.
    pub(crate) fn instructions(&self) -> u64 {
        FUEL - self.store.get_fuel().expect("it is counted")
    }

    fn size_of_configuration(&mut self, root: u32) -> u32 {
        let host = self.store.data_mut();
        host.current = root;
        host.configuration().len() as u32
    }

    /// Calls the module for a context.
    pub(crate) fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        callback: Callback,
        context: u32,
        function: &str,
        arguments: P,
    ) -> wasmtime::Result<R> {
        let function: TypedFunc<P, R> = self.instance.get_typed_func(&mut self.store, function)?;
        let host = self.store.data_mut();
        (host.callback, host.current, host.effective) = (callback, context, context);
        let done = function.call(&mut self.store, arguments);
        self.store.data_mut().callback = Callback::None;
        done
    }
}
