{
  "targets": [
    {
      "target_name": "knockify",
      "type": "shared_library",
      "product_prefix": "lib",
      "product_extension": "so",
      "sources": [
        "shim/activation.c",
        "shim/connect.c",
        "shim/control.c",
        "shim/delayed.c",
        "shim/descriptors.c",
        "shim/environment.c",
        "shim/hints.c",
        "shim/inherited.c",
        "shim/inspection.c",
        "shim/lifetime.c",
        "shim/listen.c",
        "shim/log.c",
        "shim/memory.c",
        "shim/options.c",
        "shim/patience.c",
        "shim/receive.c",
        "shim/request.c",
        "shim/rights.c",
        "shim/send.c",
        "shim/socket.c",
        "shim/stdio.c",
        "shim/wait.c",
        "shim/generated/originals.c",
        "shim/generated/wrappers.c"
      ],
      "cflags": [
        "-std=c11",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-fvisibility=hidden",
        "-fno-omit-frame-pointer"
      ],
      "cflags!": [
        "-Wno-unused-parameter",
        "-rdynamic"
      ],
      "ldflags": [
        "-Wl,--version-script=<(module_root_dir)/shim/generated/libknockify.map",
        "-Wl,-soname,libknockify.so",
        "-Wl,-z,now",
        "-Wl,-z,defs"
      ]
    },
    {
      "target_name": "knockify_native",
      "sources": [
        "native/behind.c",
        "native/brief.c",
        "native/calls.c",
        "native/channel.c",
        "native/clients.c",
        "native/closing.c",
        "native/collector.c",
        "native/crowds.c",
        "native/debts.c",
        "native/deferral.c",
        "native/diagnosis.c",
        "native/handed.c",
        "native/hands.c",
        "native/lessons.c",
        "native/named_calls.c",
        "native/process.c",
        "native/prompt.c",
        "native/prompt_addon.c",
        "native/prompt_arm.c",
        "native/prompt_hands.c",
        "native/readiness.c",
        "native/reading.c",
        "native/sequences.c",
        "native/sys.c",
        "native/threads.c"
      ],
      "cflags": [
        "-std=c11",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-fvisibility=hidden"
      ],
      "cflags!": [
        "-Wno-unused-parameter"
      ]
    },
    {
      "target_name": "bpf",
      "type": "none",
      "variables": {
        "endianness": "<!(node -p \"os.endianness()\")",
        "prebuilt%": "<!(test ! -d ts && test -d prebuilt/bpf-$(node -p \"os.endianness()\") && echo 1 || echo 0)"
      },
      "conditions": [
        [
          "prebuilt==1",
          {
            "copies": [
              {
                "destination": "<(PRODUCT_DIR)",
                "files": [
                  "prebuilt/bpf-<(endianness)/armed.bpf.o",
                  "prebuilt/bpf-<(endianness)/first.bpf.o",
                  "prebuilt/bpf-<(endianness)/guard.bpf.o"
                ]
              }
            ]
          },
          {
            "actions": [
              {
                "action_name": "compile_armed",
                "inputs": [
                  "native/bpf/armed.bpf.c",
                  "native/bpf/layout.h",
                  "native/bpf/packet.h",
                  "native/bpf/records.h",
                  "native/bpf/replays.h",
                  "native/bpf/secrets.h",
                  "native/bpf/stack.h",
                  "native/bpf/syns.h",
                  "native/bpf/token.h"
                ],
                "outputs": [
                  "<(PRODUCT_DIR)/armed.bpf.o"
                ],
                "action": [
                  "clang",
                  "-O2",
                  "-g",
                  "-fdebug-compilation-dir=.",
                  "-Wall",
                  "-Werror",
                  "-target",
                  "bpf",
                  "-mllvm",
                  "-no-stack-slot-sharing",
                  "-I/usr/include/<!(gcc -print-multiarch)",
                  "-c",
                  "native/bpf/armed.bpf.c",
                  "-o",
                  "<@(_outputs)"
                ]
              },
              {
                "action_name": "compile_first",
                "inputs": [
                  "native/bpf/first.bpf.c",
                  "native/bpf/layout.h",
                  "native/bpf/packet.h",
                  "native/bpf/stack.h",
                  "native/bpf/syns.h"
                ],
                "outputs": [
                  "<(PRODUCT_DIR)/first.bpf.o"
                ],
                "action": [
                  "clang",
                  "-O2",
                  "-g",
                  "-fdebug-compilation-dir=.",
                  "-Wall",
                  "-Werror",
                  "-target",
                  "bpf",
                  "-mllvm",
                  "-no-stack-slot-sharing",
                  "-I/usr/include/<!(gcc -print-multiarch)",
                  "-c",
                  "native/bpf/first.bpf.c",
                  "-o",
                  "<@(_outputs)"
                ]
              },
              {
                "action_name": "compile_guard",
                "inputs": [
                  "native/bpf/guard.bpf.c",
                  "native/bpf/token.h",
                  "native/bpf/packet.h",
                  "native/bpf/records.h",
                  "native/bpf/replays.h",
                  "native/bpf/secrets.h",
                  "native/bpf/stack.h",
                  "native/bpf/layout.h",
                  "native/bpf/syns.h"
                ],
                "outputs": [
                  "<(PRODUCT_DIR)/guard.bpf.o"
                ],
                "action": [
                  "clang",
                  "-O2",
                  "-g",
                  "-fdebug-compilation-dir=.",
                  "-Wall",
                  "-Werror",
                  "-target",
                  "bpf",
                  "-mllvm",
                  "-no-stack-slot-sharing",
                  "-mcpu=v3",
                  "-I/usr/include/<!(gcc -print-multiarch)",
                  "-c",
                  "native/bpf/guard.bpf.c",
                  "-o",
                  "<@(_outputs)"
                ]
              }
            ]
          }
        ]
      ]
    }
  ]
}
