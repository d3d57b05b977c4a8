/* Components of the OpenAPI document for answers, which no decoding table describes. */
#include "api/agent_server/app.h"
#include "base/cleanup.h"
#include "net/openapi.h"

#define TEXT "{\"type\":\"string\"}"
#define TEXT_OR_NULL "{\"type\":[\"string\",\"null\"]}"
#define UUID_TEXT "{\"type\":\"string\",\"format\":\"uuid\"}"
#define UUID_OR_NULL "{\"type\":[\"string\",\"null\"],\"format\":\"uuid\"}"
#define TIME_TEXT "{\"type\":\"string\",\"format\":\"date-time\"}"
#define NUMBER "{\"type\":\"number\"}"
#define INTEGER "{\"type\":\"integer\"}"
#define BOOLEAN "{\"type\":\"boolean\"}"
#define OBJECT "{\"type\":\"object\",\"additionalProperties\":true}"
#define OBJECT_OR_NULL "{\"type\":[\"object\",\"null\"],\"additionalProperties\":true}"
#define TEXTS "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}"
#define OBJECTS "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"additionalProperties\":true}}"
#define REF(name) "{\"$ref\":\"#/components/schemas/" name "\"}"

const struct openapi_component agent_server_components[] = {
    {"Success", "{\"type\":\"object\",\"properties\":{\"success\":" BOOLEAN "},\"required\":[\"success\"]}"},
    {"Error", "{\"type\":\"object\",\"properties\":{\"detail\":" TEXT "},\"required\":[\"detail\"]}"},
    {"SkillInfo",
     "{\"type\":\"object\",\"properties\":{\"name\":" TEXT
     ",\"type\":{\"type\":\"string\",\"enum\":[\"repo\",\"knowledge\",\"agentskills\"]},\"content\":" TEXT
     ",\"triggers\":" TEXTS ",\"source\":" TEXT_OR_NULL ",\"description\":" TEXT_OR_NULL
     ",\"is_agentskills_format\":" BOOLEAN ",\"disable_model_invocation\":" BOOLEAN
     "},\"required\":[\"name\",\"type\",\"content\"]}"},
    {"SkillsResponse", "{\"type\":\"object\",\"properties\":{\"skills\":{\"type\":\"array\",\"items\":" REF(
                           "SkillInfo") "},\"sources\":{\"type\":\"object\",\"additionalProperties\":" INTEGER
                                        "}},\"required\":[\"skills\"]}"},
    {"SyncResponse",
     "{\"type\":\"object\",\"properties\":{\"status\":{\"type\":\"string\",\"enum\":[\"success\",\"error\"]},"
     "\"message\":" TEXT "},\"required\":[\"status\",\"message\"]}"},
    {"ConversationExecutionStatus",
     "{\"type\":\"string\",\"enum\":[\"idle\",\"running\",\"paused\",\"waiting_for_confirmation\",\"finished\","
     "\"error\",\"stuck\",\"deleting\"]}"},
    {"Metrics",
     "{\"type\":\"object\",\"properties\":{\"model_name\":" TEXT ",\"accumulated_cost\":" NUMBER
     ",\"max_budget_per_task\":{\"type\":[\"number\",\"null\"]},\"accumulated_token_usage\":" OBJECT_OR_NULL
     "}}"},
    {"ConversationInfo",
     "{\"type\":\"object\",\"properties\":{\"id\":" UUID_TEXT ",\"workspace\":" OBJECT
     ",\"persistence_dir\":" TEXT_OR_NULL ",\"max_iterations\":" INTEGER ",\"stuck_detection\":" BOOLEAN
     ",\"execution_status\":" REF("ConversationExecutionStatus") ",\"agent_status\":" REF(
         "ConversationExecutionStatus") ",\"confirmation_policy\":" OBJECT
                                        ",\"security_analyzer\":" OBJECT_OR_NULL
                                        ",\"activated_knowledge_skills\":" TEXTS ",\"invoked_skills\":" TEXTS
                                        ",\"blocked_actions\":" OBJECT ",\"blocked_messages\":" OBJECT
                                        ",\"last_user_message_id\":" TEXT_OR_NULL
                                        ",\"leaf_event_id\":" TEXT_OR_NULL
                                        ",\"stats\":{\"type\":\"object\",\"properties\":{\"usage_to_metrics\":{\"type\":\"object\","
                                        "\"additionalProperties\":" REF(
                                            "Metrics") "}}},\"secret_registry\":" OBJECT
                                                       ",\"secrets_manager\":" OBJECT
                                                       ",\"agent_state\":" OBJECT
                                                       ",\"hook_config\":" OBJECT_OR_NULL
                                                       ",\"title\":" TEXT_OR_NULL
                                                       ",\"metrics\":{\"anyOf\":[" REF(
                                                           "Metrics") ",{\"type\":\"null\"}]},\"created_at\":" TIME_TEXT
                                                                      ",\"updated_at\":" TIME_TEXT
                                                                      ",\"forked_from_conversation_id\":" UUID_OR_NULL
                                                                      ",\"forked_from_event_id\":" TEXT_OR_NULL
                                                                      ",\"parent_conversation_id\":" UUID_OR_NULL
                                                                      ",\"sub_conversation_ids\":" TEXTS
                                                                      ",\"tags\":{\"type\":\"object\",\"additionalProperties\":" TEXT
                                                                      "},\"current_model_id\":" TEXT_OR_NULL
                                                                      ",\"available_models\":" OBJECTS
                                                                      ",\"supports_runtime_model_switch\":" BOOLEAN
                                                                      ",\"launched_agent_profile\":" OBJECT_OR_NULL
                                                                      ",\"agent\":" OBJECT
                                                                      ",\"client_tools\":" OBJECTS
                                                                      "},\"required\":[\"id\",\"workspace\",\"agent\",\"execution_status\"]}"},
    {"ConversationPage",
     "{\"type\":\"object\",\"properties\":{\"items\":{\"type\":\"array\",\"items\":" REF(
         "ConversationInfo") "},\"next_page_id\":" TEXT_OR_NULL "},\"required\":[\"items\"]}"},
    {"Event",
     "{\"type\":\"object\",\"description\":\"One event; `kind` says which. Members without a value are left out.\","
     "\"properties\":{\"id\":" TEXT ",\"timestamp\":" TEXT
     ",\"source\":{\"type\":\"string\",\"enum\":[\"agent\",\"user\",\"environment\",\"hook\"]},\"parent_id\":" TEXT
     ",\"kind\":" TEXT
     "},\"required\":[\"id\",\"timestamp\",\"source\",\"kind\"],\"additionalProperties\":true}"},
    {"EventPage", "{\"type\":\"object\",\"properties\":{\"items\":{\"type\":\"array\",\"items\":" REF(
                      "Event") "},\"next_page_id\":" TEXT_OR_NULL "},\"required\":[\"items\"]}"},
    {"GitChangeStatus", "{\"type\":\"string\",\"enum\":[\"MOVED\",\"ADDED\",\"DELETED\",\"UPDATED\"]}"},
    {"GitChange", "{\"type\":\"object\",\"properties\":{\"status\":" REF(
                      "GitChangeStatus") ",\"path\":" TEXT "},\"required\":[\"status\",\"path\"]}"},
    {"GitDiff", "{\"type\":\"object\",\"properties\":{\"modified\":" TEXT_OR_NULL
                ",\"original\":" TEXT_OR_NULL "},\"required\":[\"modified\",\"original\"]}"},
    {"GitCommit", "{\"type\":\"object\",\"properties\":{\"sha\":" TEXT ",\"short_sha\":" TEXT
                  ",\"subject\":" TEXT ",\"author\":" TEXT ",\"timestamp\":" TIME_TEXT
                  "},\"required\":[\"sha\",\"short_sha\",\"subject\",\"author\",\"timestamp\"]}"},
    {"GitCommitsPage",
     "{\"type\":\"object\",\"properties\":{\"commits\":{\"type\":\"array\",\"items\":" REF(
         "GitCommit") "},\"has_more\":" BOOLEAN "},\"required\":[\"commits\",\"has_more\"]}"},
    {"BashCommand",
     "{\"type\":\"object\",\"properties\":{\"command\":" TEXT ",\"cwd\":" TEXT_OR_NULL ",\"timeout\":" INTEGER
     ",\"id\":" TEXT ",\"timestamp\":" TIME_TEXT
     ",\"kind\":{\"type\":\"string\",\"const\":\"BashCommand\"}},\"required\":[\"command\",\"kind\"]}"},
    {"BashOutput",
     "{\"type\":\"object\",\"properties\":{\"id\":" TEXT ",\"timestamp\":" TIME_TEXT ",\"command_id\":" TEXT
     ",\"order\":" INTEGER ",\"exit_code\":{\"type\":[\"integer\",\"null\"]},\"stdout\":" TEXT_OR_NULL
     ",\"stderr\":" TEXT_OR_NULL
     ",\"kind\":{\"type\":\"string\",\"const\":\"BashOutput\"}},\"required\":[\"command_id\",\"kind\"]}"},
    {"BashEventBase", "{\"oneOf\":[" REF("BashCommand") "," REF("BashOutput") "]}"},
    {"BashEventPage", "{\"type\":\"object\",\"properties\":{\"items\":{\"type\":\"array\",\"items\":" REF(
                          "BashEventBase") "},\"next_page_id\":" TEXT_OR_NULL "},\"required\":[\"items\"]}"},
    {"VSCodeUrlResponse",
     "{\"type\":\"object\",\"properties\":{\"url\":" TEXT_OR_NULL "},\"required\":[\"url\"]}"},
    {"DesktopUrlResponse",
     "{\"type\":\"object\",\"properties\":{\"url\":" TEXT_OR_NULL "},\"required\":[\"url\"]}"},
    {"HooksResponse", "{\"type\":\"object\",\"properties\":{\"hook_config\":" OBJECT_OR_NULL "}}"},
    {"ServerInfo",
     "{\"type\":\"object\",\"properties\":{\"uptime\":" NUMBER ",\"idle_time\":" NUMBER ",\"title\":" TEXT
     ",\"version\":" TEXT ",\"sdk_version\":" TEXT ",\"tools_version\":" TEXT ",\"workspace_version\":" TEXT
     ",\"build_git_sha\":" TEXT ",\"build_git_ref\":" TEXT ",\"python_version\":" TEXT
     ",\"usable_tools\":" TEXTS
     ",\"runtime_idle_timeout_seconds\":{\"type\":[\"number\",\"null\"]},\"capabilities\":" TEXTS
     ",\"max_foreground_terminal_timeout_seconds\":{\"type\":[\"number\",\"null\"]},\"docs\":" TEXT
     ",\"redoc\":" TEXT ",\"server\":" TEXT "},\"required\":[\"uptime\",\"idle_time\"]}"},
    {0},
};
