"""What each real family's template must give, written down from the rule and not copied from what the code gave.

The loss falls on exactly what the model must generate behind the generation prompt, through the stop token.
"""

from __future__ import annotations

from .golden import Family, Shared, each

IM = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
IM_SYSTEM = "<|im_start|>system\nBe brief.<|im_end|>\n"
JSON_CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
XML_CALL = "<tool_call>\n<function=weather>\n<parameter=city>\nRome\n</parameter>\n</function>\n</tool_call>"
NO_THOUGHT = "<think>\n\n</think>\n\n"

LLAMA = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end_of_text|>")
LLAMA_CALL = '{"name": "weather", "parameters": {"city": "Rome"}}'
COHERE = (
    "<BOS_TOKEN>",
    "<|START_OF_TURN_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|SYSTEM_TOKEN|>",
    "<|USER_TOKEN|>",
    "<|CHATBOT_TOKEN|>",
)
GEMMA = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
GEMMA4 = (
    "<bos>",
    "<eos>",
    "<|turn>",
    "<turn|>",
    "<|channel>",
    "<channel|>",
    "<|tool>",
    "<tool|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|tool_response>",
    "<tool_response|>",
    '<|"|>',
)
PHI = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>")
GLM = ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>", "<|endoftext|>")
GLM_ENDS = ("<|endoftext|>", "<|user|>", "<|observation|>")
HARMONY = ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>", "<|endoftext|>")
LFM = (
    "<|startoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|tool_list_start|>",
    "<|tool_list_end|>",
    "<|tool_call_start|>",
    "<|tool_call_end|>",
    "<|tool_response_start|>",
    "<|tool_response_end|>",
)
MUSE = ("<|begin_of_text|>", "<|start|>", "<|message|>", "<|eot|>", "<|eom|>")
LFM_CALL = "<|tool_call_start|>[weather(city='Rome')]<|tool_call_end|><|im_end|>"


FAMILIES = [
    Shared("tinyllama-1.1b-chat-v1.0", ("<s>", "</s>"), "</s>", "</s>", system="<|system|>\nBe brief.</s>\n"),
    Shared("qwen2-instruct", IM, "<|im_end|>", "<|im_end|>", system=IM_SYSTEM),
    Shared("qwen2-vl-instruct", IM, "<|im_end|>", "<|im_end|>", system=IM_SYSTEM),
    # GLM's answers end where the next role begins; the newline behind the role is the model's to write.
    Shared(
        "glm-4-9b-chat",
        GLM,
        "<|endoftext|>",
        "<|endoftext|>",
        open="\n",
        between="<|user|>",
        ends=GLM_ENDS,
        system="<|system|>\nBe brief.",
    ),
    Family(
        "glm4moe",
        GLM,
        "<|endoftext|>",
        "<|endoftext|>",
        open="\n<think></think>\n",
        between="<|user|>",
        ends=GLM_ENDS,
        system="<|system|>\nBe brief.",
        tools=[
            [
                "\n<think></think>\n<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Rome</arg_value>\n"
                "</tool_call><|observation|>",
                "\n<think></think>\nIt is sunny.<|endoftext|>",
            ]
        ],
        thinking=each("\n<think>{thought}</think>\n{answer}<|endoftext|>"),
    ),
    Family(
        "cohere",
        COHERE,
        "<|END_OF_TURN_TOKEN|>",
        "<|END_OF_TURN_TOKEN|>",
        bos="<BOS_TOKEN>",
        system="<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>Be brief.<|END_OF_TURN_TOKEN|>",
    ),
    Family(
        "cohere2",
        (*COHERE, "<|START_RESPONSE|>", "<|END_RESPONSE|>"),
        "<|END_OF_TURN_TOKEN|>",
        "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",
        bos="<BOS_TOKEN>",
        system="\nBe brief.<|END_OF_TURN_TOKEN|>",
    ),
    Family("gemma", GEMMA, "<eos>", "<end_of_turn>", bos="<bos>", ends=("<end_of_turn>",)),
    Family(
        "gemma3",
        GEMMA,
        "<eos>",
        "<end_of_turn>",
        bos="<bos>",
        ends=("<end_of_turn>",),
        system="<bos><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n",
    ),
    # A call ends where the tool's result begins, and the answer goes on behind it in the same turn.
    Family(
        "gemma4_v5",
        GEMMA4,
        "<eos>",
        "<turn|>",
        bos="<bos>",
        ends=("<turn|>", "<|tool_response>"),
        system="<bos><|turn>system\nBe brief.<turn|>\n",
        tools=[
            [
                '<|tool_call>call:weather{city:<|"|>Rome<|"|>}<tool_call|><|tool_response>',
                "It is sunny.<turn|>",
            ]
        ],
        thinking=each("<|channel>thought\n{thought}\n<channel|>{answer}<turn|>"),
    ),
    # This revision writes thoughts beside calls alone.
    Family(
        "gemma4_v3",
        GEMMA4,
        "<eos>",
        "<turn|>",
        bos="<bos>",
        ends=("<turn|>", "<|tool_response>"),
        system="<bos><|turn>system\nBe brief.<turn|>\n",
        tools=[
            [
                '<|tool_call>call:weather{city:<|"|>Rome<|"|>}<tool_call|><|tool_response>',
                "It is sunny.<turn|>",
            ]
        ],
    ),
    # The last answer ends with <|return|>, the same answer as history with <|end|>.
    Family(
        "gptoss",
        HARMONY,
        "<|return|>",
        "<|return|>",
        open="<|channel|>final<|message|>",
        ends=("<|return|>", "<|call|>", "<|endoftext|>"),
        shared=False,
        system="<|start|>developer<|message|># Instructions\n\nBe brief.\n\n<|end|>",
        tools=[
            [
                ' to=functions.weather<|channel|>commentary json<|message|>{"city": "Rome"}<|call|>',
                "<|channel|>final<|message|>It is sunny.<|return|>",
            ]
        ],
        thinking=each(
            "<|channel|>analysis<|message|>{thought}<|end|><|start|>assistant"
            "<|channel|>final<|message|>{answer}<|return|>"
        ),
    ),
    Family("lfm2", LFM, "<|im_end|>", "<|im_end|>", bos="<|startoftext|>", system=IM_SYSTEM),
    Family(
        "lfm2_v2",
        LFM,
        "<|im_end|>",
        "<|im_end|>",
        bos="<|startoftext|>",
        system=IM_SYSTEM,
        tools=[[LFM_CALL, "It is sunny.<|im_end|>"]],
    ),
    Family(
        "lfm2_2_5_v2",
        LFM,
        "<|im_end|>",
        "<|im_end|>",
        bos="<|startoftext|>",
        system=IM_SYSTEM,
        tools=[[LFM_CALL, "It is sunny.<|im_end|>"]],
        thinking=each("<think>{thought}</think>{answer}<|im_end|>"),
    ),
    Family(
        "llama3",
        LLAMA,
        "<|eot_id|>",
        "<|eot_id|>",
        bos="<|begin_of_text|>",
        system="<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>",
    ),
    *(
        Family(
            name,
            LLAMA,
            "<|eot_id|>",
            "<|eot_id|>",
            bos="<|begin_of_text|>",
            system="\n\nBe brief.<|eot_id|>",
            tools=[[f"{LLAMA_CALL}<|eot_id|>", "It is sunny.<|eot_id|>"]],
        )
        for name in ("llama3_1", "llama3_2")
    ),
    *(
        Family(
            name,
            PHI,
            "<|endoftext|>",
            "<|end|>",
            ends=("<|end|>", "<|assistant|>"),
            system="<|system|>\nBe brief.<|end|>\n",
        )
        for name in ("phi3", "phi3_5")
    ),
    *(
        Family(
            name,
            IM,
            "<|im_end|>",
            "<|im_end|>",
            system=IM_SYSTEM,
            tools=[[f"{JSON_CALL}<|im_end|>", "It is sunny.<|im_end|>"]],
        )
        for name in ("qwen2_5", "qwen3_instruct_2507", "qwen3_vl")
    ),
    Family("qwen2_5_vl", IM, "<|im_end|>", "<|im_end|>", system=IM_SYSTEM),
    # The history shows earlier answers without their thinking block, an empty one too.
    Family(
        "qwen3",
        IM,
        "<|im_end|>",
        "<|im_end|>",
        open=NO_THOUGHT,
        shared=False,
        system=IM_SYSTEM,
        tools=[[f"{NO_THOUGHT}{JSON_CALL}<|im_end|>"], [f"{NO_THOUGHT}It is sunny.<|im_end|>"]],
        thinking=each("<think>\n{thought}\n</think>\n\n{answer}<|im_end|>"),
    ),
    # The prompt opens the block; the model writes what is in it and closes it. Behind the prompt's newline an empty
    # block begins with another, which the history's tokens join, so each answer has a piece of its own.
    *(
        Family(
            name,
            IM,
            "<|im_end|>",
            "<|im_end|>",
            open="\n</think>\n\n",
            shared=False,
            system=IM_SYSTEM if name != "qwen3_8" else "\n\nBe brief.<|im_end|>\n",
            tools=[[f"\n</think>\n\n{XML_CALL}<|im_end|>"], ["\n</think>\n\nIt is sunny.<|im_end|>"]],
            thinking=thinking,
        )
        for name, thinking in {
            "qwen3_5_think": each("{thought}\n</think>\n\n{answer}<|im_end|>"),
            "qwen3_6": each("{thought}\n</think>\n\n{answer}<|im_end|>"),
            # This one keeps what was thought in the history.
            "qwen3_8": [[text for (text,) in each("{thought}\n</think>\n\n{answer}<|im_end|>")]],
        }.items()
    ),
    Family(
        "muse_glimmer",
        MUSE,
        "<|eot|>",
        "<|eot|>",
        open=" to=user<|message|>",
        bos="<|begin_of_text|>",
        system="<|start|>system<|message|>Be brief.\n\n",
        tools=[
            [
                ' to=weather<|message|><atem:function_calls>\n<atem:invoke name="weather">\n'
                '<atem:parameter name="city">Rome</atem:parameter>\n</atem:invoke>\n</atem:function_calls><|eot|>',
                " to=user<|message|>It is sunny.<|eot|>",
            ]
        ],
        thinking=[
            [
                " to=self<|message|>A greeting.<|eom|><|start|>assistant to=user<|message|>Hello!<|eot|>",
                " to=self<|message|>Stop here.<|eom|><|start|>assistant to=user<|message|>That is all.<|eot|>",
            ]
        ],
    ),
    # The prompt holds an empty block, the history none.
    Family(
        "qwen3_5_nothink",
        IM,
        "<|im_end|>",
        "<|im_end|>",
        shared=False,
        system=IM_SYSTEM,
        tools=[[f"{XML_CALL}<|im_end|>", "It is sunny.<|im_end|>"]],
    ),
]


def named(name):
    return next(family for family in FAMILIES if family.name == name)
