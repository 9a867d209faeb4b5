//! A filter without an SDK that makes one host call several times per request, as its configuration says:
//! `clock 20`. `make prices` measures the cost of each call with it. With `nothing 0` it is the cheapest
//! filter that there can be.
#![cfg(target_arch = "wasm32")]

use std::alloc::{Layout, alloc, dealloc};
use std::sync::Mutex;

const CONTINUE: u32 = 0;
const STOP: u32 = 1;
const REQUEST_HEADERS: u32 = 0;
const PLUGIN_CONFIGURATION: u32 = 7;
const NAME: &str = "x-auth-email";
const OTHER_NAME: &str = "x-bench-absent";
const VALUE: &str = "alice@demo.example";

unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_get_buffer_bytes(
        kind: u32,
        start: usize,
        length: usize,
        at: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, at: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        at: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, at: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        at: *mut *mut u8,
        size: *mut usize,
        version: *mut u32,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, metric: *mut u32) -> u32;
    fn proxy_increment_metric(metric: u32, by: i64) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn random_get(at: *mut u8, size: usize) -> u32;
}

struct Plan {
    call: String,
    times: u32,
    metric: u32,
}

static PLAN: Mutex<Plan> = Mutex::new(Plan { call: String::new(), times: 0, metric: 0 });

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    match Layout::array::<u8>(size.max(1)) {
        // SAFETY: the size is not 0.
        Ok(layout) => unsafe { alloc(layout) },
        Err(_) => std::ptr::null_mut(),
    }
}

/// The bytes that the host wrote into memory of `proxy_on_memory_allocate`. Frees that memory.
fn taken(at: *mut u8, size: usize) -> Vec<u8> {
    if at.is_null() || size == 0 {
        return Vec::new();
    }
    // SAFETY: the host allocated exactly this size with `proxy_on_memory_allocate`, and filled it.
    unsafe {
        let bytes = std::slice::from_raw_parts(at, size).to_vec();
        dealloc(at, Layout::array::<u8>(size).unwrap());
        bytes
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(_context: u32, length: usize) -> u32 {
    let (mut at, mut size) = (std::ptr::null_mut(), 0);
    let mut metric = 0;
    // SAFETY: all pointers are those of values that live until the call returns.
    unsafe {
        proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, length, &raw mut at, &raw mut size);
        proxy_define_metric(0, NAME.as_ptr(), NAME.len(), &raw mut metric);
    }
    let text = String::from_utf8(taken(at, size)).unwrap();
    let (call, times) = text.split_once(' ').unwrap();
    *PLAN.lock().unwrap() = Plan { call: call.to_owned(), times: times.parse().unwrap(), metric };
    1
}

/// Makes the call once. The status does not matter: each call succeeds, or finds nothing.
fn make(call: &str, metric: u32) {
    let (mut at, mut size) = (std::ptr::null_mut(), 0);
    let (mut time, mut version) = (0, 0);
    let mut random = [0; 32];
    // SAFETY: all pointers are those of values that live until the call returns.
    unsafe {
        match call {
            "clock" => proxy_get_current_time_nanoseconds(&raw mut time),
            "random" => random_get(random.as_mut_ptr(), random.len()),
            "header_map" => proxy_get_header_map_pairs(REQUEST_HEADERS, &raw mut at, &raw mut size),
            "header" => {
                proxy_get_header_map_value(REQUEST_HEADERS, b":path".as_ptr(), 5, &raw mut at, &raw mut size)
            }
            "set_header" => proxy_replace_header_map_value(
                REQUEST_HEADERS,
                NAME.as_ptr(),
                NAME.len(),
                VALUE.as_ptr(),
                VALUE.len(),
            ),
            "remove_absent_header" => {
                proxy_remove_header_map_value(REQUEST_HEADERS, OTHER_NAME.as_ptr(), OTHER_NAME.len())
            }
            "property" => proxy_get_property(b"source\0address".as_ptr(), 14, &raw mut at, &raw mut size),
            "set_property" => proxy_set_property(NAME.as_ptr(), NAME.len(), b"session".as_ptr(), 7),
            "shared_data" => {
                proxy_get_shared_data(NAME.as_ptr(), NAME.len(), &raw mut at, &raw mut size, &raw mut version)
            }
            "metric" => proxy_increment_metric(metric, 1),
            "log" => proxy_log(2, VALUE.as_ptr(), VALUE.len()),
            _ => 0,
        }
    };
    drop(taken(at, size));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(_context: u32, _count: usize, _is_end: u32) -> u32 {
    let plan = PLAN.lock().unwrap();
    if plan.call == "response" {
        let none = std::ptr::null();
        // SAFETY: the body is a constant, and nothing else is given.
        unsafe { proxy_send_local_response(200, none, 0, VALUE.as_ptr(), VALUE.len(), none, 0, -1) };
        return STOP;
    }
    for _ in 0..plan.times {
        make(&plan.call, plan.metric);
    }
    CONTINUE
}
